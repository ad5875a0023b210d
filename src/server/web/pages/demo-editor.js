// CodeMirror bound to a shared document: local transactions become operations, operations become transactions.
import {
  Annotation, Compartment, Decoration, EditorSelection, EditorState, EditorView, keymap, placeholder, StateEffect,
  StateField, WidgetType,
} from "/codemirror.js";
import { ot } from "/syncline.js";
import { hueOf } from "/demo-people.js";

/** On transactions that the document told; they are not edits to send. */
const FromDocument = Annotation.define();

// Operations and changes ---------------------------------------------------------------------------------------------

function operationOf(changes) {
  const parts = [];
  let at = 0;
  changes.iterChanges((from, to, _from, _to, inserted) => {
    parts.push(from - at, from - to, inserted.toString());
    at = to;
  }, true);
  return ot.normalize(parts);
}

function changesOf(operation) {
  const changes = [];
  let at = 0;
  for (const part of operation) {
    if (typeof part === "string") changes.push({ from: at, insert: part });
    else if (part > 0) at += part;
    else changes.push({ from: at, to: (at -= part) });
  }
  return changes;
}

// Others' cursors ----------------------------------------------------------------------------------------------------

const setCursors = StateEffect.define();

const FLAG = 3000; // milliseconds that a name stands at a caret after its owner moved it

class Caret extends WidgetType {
  constructor(client, name, hue, movedAt) {
    super();
    Object.assign(this, { client, name, hue, movedAt });
  }

  eq(other) {
    return ["client", "name", "hue", "movedAt"].every((field) => other[field] === this[field]);
  }

  toDOM(view) {
    const caret = document.createElement("span");
    caret.className = "remote-caret";
    caret.dataset.client = this.client;
    caret.style.setProperty("--hue", this.hue);
    const flag = document.createElement("span");
    flag.className = "remote-flag";
    flag.textContent = this.name;
    caret.append(flag);
    // The editor makes elements anew whenever it likes: that is no movement.
    const left = this.movedAt + FLAG - Date.now();
    if (left > 0) {
      caret.classList.add("moved");
      setTimeout(() => caret.classList.remove("moved"), left);
    }
    caret.setAttribute("aria-hidden", "true");
    // A flag that would leave the editor on the right hangs to the left.
    view.requestMeasure({
      read: () => flag.getBoundingClientRect().right > view.scrollDOM.getBoundingClientRect().right - 4,
      write: (outside) => caret.classList.toggle("flip", outside),
    });
    return caret;
  }

  ignoreEvent() {
    return true;
  }
}

/** client -> {client, user, name, anchor, head, movedAt}; positions follow every transaction until they are set anew. */
const cursorField = StateField.define({
  create: () => new Map(),
  update(cursors, transaction) {
    let mapped = cursors;
    if (transaction.docChanged && cursors.size) {
      const along = (position) => transaction.changes.mapPos(position, -1); // by the document's rule
      mapped = new Map();
      for (const [client, cursor] of cursors) {
        mapped.set(client, { ...cursor, anchor: along(cursor.anchor), head: along(cursor.head) });
      }
    }
    for (const effect of transaction.effects) {
      if (!effect.is(setCursors)) continue;
      const before = mapped;
      mapped = new Map();
      for (const cursor of effect.value) {
        const old = before.get(cursor.client);
        const still = old && old.anchor === cursor.anchor && old.head === cursor.head;
        mapped.set(cursor.client, { ...cursor, movedAt: still ? old.movedAt : Date.now() });
      }
    }
    return mapped;
  },
  provide: (field) => EditorView.decorations.from(field, (cursors) => {
    const marks = [];
    for (const { client, user, name, anchor, head, movedAt } of cursors.values()) {
      const hue = hueOf(user);
      if (anchor !== head) {
        const mark = Decoration.mark({ class: "remote-range", attributes: { style: `--hue: ${hue}` } });
        marks.push(mark.range(Math.min(anchor, head), Math.max(anchor, head)));
      }
      marks.push(Decoration.widget({ widget: new Caret(client, name, hue, movedAt), side: 1 }).range(head));
    }
    return Decoration.set(marks, true);
  }),
});

// The editor ---------------------------------------------------------------------------------------------------------

/** One's own, asked of the server: where they were made, the caret goes. */
const ASKED = new Set(["undo", "redo", "restore"]);

/** An editor in `parent`: `attach(handle)` shows a document, `detach()` none. `refused(error)`: an edit was impossible. */
export function createEditor(parent, { refused }) {
  const access = new Compartment();
  let handle = null;
  let releases = [];
  let used = false; // the caret is shown to others once the editor was used
  let syncing = false;
  let frame = 0;

  const locked = (why) => [EditorState.readOnly.of(true), EditorView.editable.of(false), placeholder(why)];
  const open = () => [placeholder("Write something. Everybody in this room writes in the same document.")];

  function fromDocument(changes, effects = [], caret = null) {
    const there = caret === null ? {} : { selection: { anchor: caret }, scrollIntoView: true };
    view.dispatch({ changes, effects, ...there, annotations: FromDocument.of(true), userEvent: "remote" });
  }

  /** Whatever happened, the editor shows what the document says. */
  function sync() {
    if (syncing) return;
    syncing = true;
    queueMicrotask(() => {
      syncing = false;
      if (handle) fromDocument(changesOf(ot.diff(view.state.doc.toString(), handle.text)));
    });
  }

  function submit(transaction) {
    const operation = operationOf(transaction.changes);
    try {
      if (handle.edit(operation)) sync();
    } catch (error) {
      sync();
      refused(error);
    }
  }

  function showCursors() {
    if (frame) return;
    frame = requestAnimationFrame(() => {
      frame = 0;
      if (!handle || handle.text.length !== view.state.doc.length) return;
      view.dispatch({ effects: setCursors.of([...handle.cursors.values()]) });
    });
  }

  /** On the server, which knows what everybody did since: it takes back one's own step alone, also after a reload. */
  const undo = (which) => () => {
    if (handle?.writable) handle[which]().catch(refused);
    return true;
  };

  /** Left to the browser, a deletion of everything beside another's cursor is noticed only with the next key. */
  function deleteSelection() {
    if (view.state.readOnly || view.state.selection.main.empty) return false;
    view.dispatch(view.state.replaceSelection(""), { scrollIntoView: true, userEvent: "delete" });
    return true;
  }

  /** A new line, as far in as the present one. */
  function newLine({ state, dispatch }) {
    if (state.readOnly) return false;
    dispatch(state.update(state.changeByRange((range) => {
      const line = state.doc.lineAt(range.from);
      const indent = /^[ \t]*/.exec(line.text)[0].slice(0, range.from - line.from);
      const insert = `\n${indent}`;
      const caret = EditorSelection.cursor(range.from + insert.length);
      return { changes: { from: range.from, to: range.to, insert }, range: caret };
    }), { scrollIntoView: true, userEvent: "input" }));
    return true;
  }

  const view = new EditorView({
    parent,
    state: EditorState.create({
      extensions: [
        access.of(locked("Loading\u2026")),
        // Only this ends a line: CodeMirror must count as the document does, where a carriage return is a character.
        EditorState.lineSeparator.of("\n"),
        EditorView.clipboardInputFilter.of((text) => text.replace(/\r\n?/g, "\n")),
        EditorView.lineWrapping,
        EditorView.contentAttributes.of({
          "aria-label": "Shared document", autocapitalize: "sentences", spellcheck: "true",
        }),
        cursorField,
        keymap.of([
          { key: "Enter", run: newLine, shift: newLine },
          { key: "Mod-z", run: undo("undo"), preventDefault: true },
          { key: "Mod-Shift-z", run: undo("redo"), preventDefault: true },
          { key: "Mod-y", run: undo("redo"), preventDefault: true },
          { key: "Mod-a", run: ({ state, dispatch }) => {
            dispatch(state.update({ selection: { anchor: 0, head: state.doc.length } }));
            return true;
          } },
        ]),
        EditorView.domEventHandlers({
          beforeinput(event) {
            // The browser's own undo knows nothing of the others.
            if (event.inputType === "historyUndo") undo("undo")();
            else if (event.inputType === "historyRedo") undo("redo")();
            else if (!event.inputType.startsWith("deleteContent") || !deleteSelection()) return false;
            event.preventDefault();
            return true;
          },
        }),
        EditorView.updateListener.of((update) => {
          if (!handle) return;
          for (const transaction of update.transactions) {
            if (transaction.docChanged && !transaction.annotation(FromDocument)) submit(transaction);
          }
          used ||= update.view.hasFocus;
          if (used && (update.docChanged || update.selectionSet || update.focusChanged)) {
            const { anchor, head } = view.state.selection.main;
            handle.setCursor(Math.min(anchor, handle.text.length), Math.min(head, handle.text.length));
          }
        }),
      ],
    }),
  });

  function setAccess() {
    const why = handle?.role ? "Nothing here yet." : "Loading\u2026";
    view.dispatch({ effects: access.reconfigure(handle?.writable ? open() : locked(why)) });
  }

  return {
    view,
    undo: undo("undo"),
    redo: undo("redo"),
    attach(shared) {
      this.detach();
      handle = shared;
      used = false;
      releases = [
        shared.on("change", ({ operation, origin }) => {
          if (origin === "local") return;
          const fits = ot.baseLength(operation) <= view.state.doc.length;
          const caret = ASKED.has(origin) ? ot.endOf(operation) : null;
          if (fits && !syncing) fromDocument(changesOf(operation), [], caret);
          if (!fits || view.state.doc.length !== shared.text.length) sync();
        }),
        shared.on("cursors", showCursors),
        shared.on("state", setAccess),
        shared.on("role", setAccess),
      ];
      fromDocument(changesOf(ot.diff(view.state.doc.toString(), shared.text)));
      setAccess();
      showCursors();
    },
    detach() {
      for (const release of releases) release();
      releases = [];
      handle = null;
      fromDocument(changesOf(ot.diff(view.state.doc.toString(), "")), setCursors.of([]));
      setAccess();
    },
  };
}
