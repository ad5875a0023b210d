// CodeMirror bound to a shared document: local transactions become operations, operations become transactions.
import {
  Annotation, Compartment, Decoration, EditorSelection, EditorState, EditorView, keymap, placeholder, StateEffect,
  StateField, WidgetType,
} from "/codemirror.js";
import { ot } from "/syncline.js";
import { hueOf } from "/demo-people.js";

/** On transactions that the document told; they are not edits to send. */
const FromDocument = Annotation.define();
/** On transactions of undo and redo: "undo" or "redo". */
const Undoing = Annotation.define();

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

class Caret extends WidgetType {
  constructor(client, name, hue, moves) {
    super();
    Object.assign(this, { client, name, hue, moves });
  }

  /** A new element, and with it a fresh name flag, only when its owner moved it. */
  eq(other) {
    return other.client === this.client && other.moves === this.moves && other.name === this.name;
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

/** client -> {client, user, name, anchor, head, moves}; positions follow every transaction until they are set anew. */
const cursorField = StateField.define({
  create: () => new Map(),
  update(cursors, transaction) {
    let mapped = cursors;
    if (transaction.docChanged && cursors.size) {
      const along = (position) => transaction.changes.mapPos(position, 1);
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
        mapped.set(cursor.client, { ...cursor, moves: still ? old.moves : (old?.moves ?? 0) + 1 });
      }
    }
    return mapped;
  },
  provide: (field) => EditorView.decorations.from(field, (cursors) => {
    const marks = [];
    for (const { client, user, name, anchor, head, moves } of cursors.values()) {
      const hue = hueOf(user);
      if (anchor !== head) {
        const mark = Decoration.mark({ class: "remote-range", attributes: { style: `--hue: ${hue}` } });
        marks.push(mark.range(Math.min(anchor, head), Math.max(anchor, head)));
      }
      marks.push(Decoration.widget({ widget: new Caret(client, name, hue, moves), side: 1 }).range(head));
    }
    return Decoration.set(marks, true);
  }),
});

// Undo ---------------------------------------------------------------------------------------------------------------

const MOST_UNDO = 300;
const PAUSE = 700; // milliseconds without typing that begin a new step

/** One's own steps back and forth. Others' edits pass through them, so that undo never takes away another's text. */
class Steps {
  constructor() {
    this.back = [];
    this.forth = [];
    this.last = 0;
  }

  /** A local edit of `text` was made; `kind` is "undo", "redo" or undefined. */
  local(operation, text, kind) {
    const inverse = ot.invert(operation, text);
    const now = Date.now();
    if (kind === "undo") this.forth.push(inverse);
    else if (kind === "redo") this.back.push(inverse);
    else {
      this.forth = [];
      const last = this.back[this.back.length - 1];
      const line = operation.some((part) => typeof part === "string" && part.includes("\n"));
      if (last && now - this.last < PAUSE && !line) {
        this.back[this.back.length - 1] = ot.compose(inverse, last);
      } else {
        this.back.push(inverse);
      }
    }
    this.last = kind ? 0 : now;
    if (this.back.length > MOST_UNDO) this.back.shift();
  }

  remote(operation) {
    for (const steps of [this.back, this.forth]) {
      let other = operation;
      for (let index = steps.length - 1; index >= 0; index -= 1) {
        const step = steps[index];
        steps[index] = ot.transform(step, other, "left");
        other = ot.transform(other, step, "right");
      }
    }
  }

  take(kind) {
    const steps = kind === "undo" ? this.back : this.forth;
    while (steps.length) {
      const step = steps.pop();
      if (step.length) return step;
    }
    return null;
  }
}

// The editor ---------------------------------------------------------------------------------------------------------

/** An editor in `parent`: `attach(handle)` shows a document, `detach()` none. `refused(error)`: an edit was impossible. */
export function createEditor(parent, { refused }) {
  const access = new Compartment();
  let handle = null;
  let releases = [];
  let steps = new Steps();
  let before = ""; // the document's text before the latest local edit
  let kind; // of the local edit that is being handed over
  let used = false; // the caret is shown to others once the editor was used
  let syncing = false;
  let frame = 0;

  const locked = (why) => [EditorState.readOnly.of(true), EditorView.editable.of(false), placeholder(why)];
  const open = () => [placeholder("Write something. Everybody in this room writes in the same document.")];

  function fromDocument(changes, effects = []) {
    view.dispatch({ changes, effects, annotations: FromDocument.of(true), userEvent: "remote" });
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
    kind = transaction.annotation(Undoing);
    before = handle.text;
    try {
      if (handle.edit(operation)) sync();
    } catch (error) {
      sync();
      refused(error);
    }
    kind = undefined;
  }

  function showCursors() {
    if (frame) return;
    frame = requestAnimationFrame(() => {
      frame = 0;
      if (!handle || handle.text.length !== view.state.doc.length) return;
      view.dispatch({ effects: setCursors.of([...handle.cursors.values()]) });
    });
  }

  const undo = (which) => () => {
    const step = handle?.writable ? steps.take(which) : null;
    if (!step) return true;
    view.dispatch({
      changes: changesOf(step), selection: { anchor: ot.endOf(step) }, scrollIntoView: true,
      annotations: Undoing.of(which), userEvent: which,
    });
    return true;
  };

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
            else return false;
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
    attach(shared) {
      this.detach();
      handle = shared;
      steps = new Steps();
      used = false;
      releases = [
        shared.on("change", ({ operation, origin }) => {
          if (origin === "local") return steps.local(operation, before, kind);
          if (origin === "reset") steps = new Steps();
          else steps.remote(operation);
          const fits = ot.baseLength(operation) <= view.state.doc.length;
          if (fits && !syncing) fromDocument(changesOf(operation));
          if (!fits || view.state.doc.length !== shared.text.length) sync();
          return undefined;
        }),
        shared.on("cursors", showCursors),
        shared.on("state", setAccess),
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
