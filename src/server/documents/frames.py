"""What a document tells its collaborators: frames encoded once per unit and codec and shared by all who get them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, cast

from ...core.documents.document import Document
from ...core.documents.document_type import AnyEntry, DocumentType
from ...core.documents.rejoin import Composite
from ...core.storage.commits import Entry
from ...core.wire import envelopes as wire
from ...core.wire.document_push import operations_frame
from ..seams.store import Turn
from .collaborator import Collaborator

if TYPE_CHECKING:
    from ...core.ot.ot import Unit

#: Entries in one frame; a longer list is continued by further pushes, so that no frame grows without bound.
ENTRIES_PER_FRAME = 2000


def describe(entries: Sequence[AnyEntry], unit: Unit) -> list[dict[str, Any]]:
    """Entries as the protocol shows them."""
    described = []
    for entry in entries:
        shown = {"client": entry.client, "seq": entry.seq, "operation": entry.told(unit)}
        if entry.kind != "edit":
            shown["kind"] = entry.kind
        described.append(shown)
    return described


def describe_steps(
    type: DocumentType[Any, Any], steps: Sequence[AnyEntry | Composite], unit: Unit
) -> list[dict[str, Any]]:
    """The same with runs of operations in one."""
    described = []
    for step in steps:
        if isinstance(step, Composite):
            described.append({"operation": type.describe(step.operation), "count": step.count})
        else:
            described += describe([step], unit)
    return described


def entries_between(type: DocumentType[Any, Any], turns: list[Turn], since: int, until: int) -> list[AnyEntry]:
    """The entries of revisions since + 1 ... until out of turns that may reach further on both sides."""
    entries: list[AnyEntry] = []
    for turn in turns:
        skip = max(since - turn.base, 0)
        entries += type.decode_entries(turn.body, skip, max(until - turn.base - skip, 0))
    return entries


def broadcast(
    document: str, revision: int, entries: list[AnyEntry], content_hash: int | None, receivers: Collection[Collaborator]
) -> list[tuple[Collaborator, int]]:
    """`document:operation` for consecutive entries that end at ``revision``, where the content has ``content_hash``.

    Returns who did not get them because it reads too slowly, and the revision that it was given last: it is ``behind`` now.
    """
    left_out: list[tuple[Collaborator, int]] = []
    for start in range(0, len(entries), ENTRIES_PER_FRAME):
        part = entries[start : start + ENTRIES_PER_FRAME]
        at = revision - len(entries) + start + len(part)
        frames: dict[tuple[Unit, wire.Codec], bytes] = {}
        for collaborator in receivers:
            if collaborator.behind:
                continue
            connection = collaborator.session.connection
            if connection.held and connection.leave_out():
                collaborator.behind = True
                left_out.append((collaborator, at - len(part)))
                continue
            frame = frames.get(collaborator.kind)
            if frame is None:
                told = content_hash if at == revision else None
                frame = frames[collaborator.kind] = _operations(document, at, part, *collaborator.kind, told)
            connection.reply(frame)  # whatever its size: who keeps up is not cut off for what another one wrote
    return left_out


def send_entries(document: str, revision: int, entries: list[AnyEntry], collaborator: Collaborator) -> None:
    """The same to one collaborator, in one frame."""
    collaborator.session.connection.reply(_operations(document, revision, entries, *collaborator.kind))


def _operations(
    document: str,
    revision: int,
    entries: list[AnyEntry],
    unit: Unit,
    codec: wire.Codec,
    content_hash: int | None = None,
) -> bytes:
    if entries and type(entries[0]) is Entry:
        return operations_frame(codec, document, revision, cast("list[Entry]", entries), unit, content_hash)
    data = {"document": document, "revision": revision, "operations": describe(entries, unit)}
    if content_hash is not None:
        data["hash"] = content_hash
    return wire.push_frame(codec, "document:operation", data)


def tell_hash(document: str, revision: int, content_hash: int, receivers: Collection[Collaborator]) -> None:
    """`document:operation` without operations: the hash of a content that took its time."""
    data = {"document": document, "revision": revision, "operations": [], "hash": content_hash}
    push = wire.Push("document:operation", data)
    for collaborator in receivers:
        if not collaborator.behind:
            collaborator.session.connection.deliver(push.frame(collaborator.session.codec))


def show_cursors(core: Document, moved: Collection[Collaborator], receivers: Collection[Collaborator]) -> None:
    """`document:cursor` of those who ``moved``; not to one who moved alone."""
    alone = next(iter(moved)) if len(moved) == 1 else None
    pushes: dict[str, wire.Push] = {}
    # A slow reader gets the newest frame about the same clients.
    key = ("document:cursor", core.id, frozenset(collaborator.client for collaborator in moved))
    for receiver in receivers:
        if receiver.behind or receiver is alone:
            continue
        push = pushes.get(receiver.unit)
        if push is None:
            listed = []
            for collaborator in moved:
                cursor = core.cursor(collaborator.client, receiver.unit)
                anchor, head = (None, None) if cursor is None else cursor
                listed.append({"client": collaborator.client, "anchor": anchor, "head": head})
            told = {"document": core.id, "revision": core.revision, "cursors": listed}
            push = pushes[receiver.unit] = wire.Push("document:cursor", told)
        receiver.session.connection.deliver_latest(push.frame(receiver.session.codec), key)
