// What the demo page uses of CodeMirror 6; esbuild drops the rest.
export { Annotation, Compartment, EditorSelection, EditorState, Prec, StateEffect, StateField, Transaction } from "@codemirror/state";
export { Decoration, EditorView, ViewPlugin, WidgetType, drawSelection, keymap, lineNumbers, placeholder } from "@codemirror/view";
