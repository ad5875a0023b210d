"""One loaded document: its core, its collaborators, and the submit pipeline.

A document belongs to one event loop. Operations that arrive wait in its inbox; once per turn they go through the stages
receive (validate, deduplicate, transform, apply) -> commit (one append to the store) -> broadcast and ack. While a commit is
under way nothing else touches the document, so whoever joins at its end sees exactly what is on disk, and a failed commit is
undone by dropping the document and loading it anew.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from ...core.documents.document import Document
from ...core.documents.document_type import AnyEntry
from ...core.errors import ErrorCode, Laborious, OutdatedRevision, SynclineError, TooFarBehind
from ...core.wire import envelopes as wire
from ..seams.outcome import Conflict, Unavailable
from ..seams.store import DocumentRecord, Turn
from ..sessions.session import SessionGone
from .collaborator import Collaborator
from .cursors import MovedCursors
from .frames import broadcast
from .hashes import Hashes
from .history import widen
from .loaded import Context, Loaded
from .snapshots import Snapshots
from .submission import Submission, fate_known
from .turn_scheduler import TURN_SECONDS, TurnScheduler

log = logging.getLogger("syncline.documents")

#: A turn takes what waits for so long, or until so much is to be told of it (characters, about); the rest is for the next one.
TURN_BULK = 4_194_304
#: Why a document was loaded anew.
BROKEN = "a fault of the server"


class LiveDocument(Loaded):
    """A loaded document: its core, its collaborators, and the pipeline."""

    def __init__(self, context: Context, record: DocumentRecord, core: Document) -> None:
        super().__init__(context, record, core)
        self._inbox: list[Submission] = []
        self._accepted: list[Submission] = []  # in the commit under way, duplicates of this turn included
        self._entries: list[AnyEntry] = []  # what that commit stores
        self._cursors = MovedCursors()
        self._settled: list[Callable[[], None]] = []  # joins that wait for the end of the commit
        self._scheduler = TurnScheduler(context.clock, context.turns.add, context.config.documents.rest_microseconds)
        self._preparing = False
        self.snapshots = Snapshots(core.revision)
        self.hashes = Hashes(core.revision)
        self._undo_dropped = core.undo_dropped

    @property
    def pending(self) -> int:
        """Operations in the inbox; the bound is ``documents.pending_operations``."""
        return len(self._inbox)

    # Stage 1: submit -----------------------------------------------------------------------------------------

    def submit(self, submission: Submission) -> None:
        """Queues it for this turn. Raises SynclineError (forbidden, limit_exceeded)."""
        collaborator, kind = submission.collaborator, submission.kind
        if collaborator.role == "reader":
            raise SynclineError(ErrorCode.FORBIDDEN, "readers do not edit")
        if len(self._inbox) >= self.context.config.documents.pending_operations:
            raise SynclineError(ErrorCode.LIMIT_EXCEEDED, "too many operations wait; try again")
        if kind == "restore" and any(one.kind == kind and one.collaborator is collaborator for one in self._inbox):
            raise SynclineError(ErrorCode.LIMIT_EXCEEDED, "one restoration waits already; try again")
        self._inbox.append(submission)
        self.schedule()
        self._scheduler.submitted(len(self._inbox), len(self.collaborators))

    def move_cursor(self, collaborator: Collaborator, revision: int, anchor: Any, head: Any) -> None:
        """Queues a cursor; the newest per client wins."""
        self._cursors.add(collaborator.client, revision, anchor, head)
        self.schedule()

    def schedule(self) -> None:
        if not self.committing and not self._preparing:
            self._scheduler.schedule(self._turn)

    def _turn(self) -> None:
        if self.closed or self.committing or self._preparing:
            return
        try:
            self._take_turn()
        except Exception:
            self._broken("its turn")

    def _take_turn(self) -> None:
        if self.hashes.wanted:
            self._preparing = True
            self.context.spawn(self.hashes.take(self))
            return
        self._scheduler.sent(len(self.collaborators))
        end = self.context.clock.monotonic() + TURN_SECONDS
        self._cursors.take(self, end)  # first: what is pushed about them is at a revision that everybody has
        if not self._receive(end):
            self.context.registry.drop(self, BROKEN)
        elif self._entries:
            self._commit()
        else:
            self._answer()
            self._go_on()

    def _broken(self, where: str) -> None:
        """An unforeseen error: what is in memory may be ahead of the disk, so the document is loaded anew."""
        log.exception("document %s: %s", self.id, where)
        if not self.closed:
            self.context.registry.drop(self, BROKEN)

    # Stage 2: receive ----------------------------------------------------------------------------------------

    def _receive(self, end: float) -> bool:
        """False: it has broken the core."""
        inbox, self._inbox = self._inbox, []
        now, monotonic = self.context.clock.time(), self.context.clock.monotonic
        bulk = 0
        for index, submission in enumerate(inbox):
            if index and (bulk > TURN_BULK or monotonic() > end):  # others have a turn first
                self._inbox = inbox[index:] + self._inbox
                return True
            if submission.collaborator.sent_back:
                submission.answer.fail(SynclineError(ErrorCode.DOCUMENT_UNAVAILABLE, "join again"))
                continue
            try:
                receipt = submission.receive(self.core, now)
            except SynclineError as error:
                self.context.counters.operations_refused += 1
                submission.answer.fail(error)
                if submission.laborious:
                    submission.collaborator.session.misbehaved()
            except (OutdatedRevision, Laborious) as needs:
                # It and what came after it wait: for the history that it was made on, or for work beside the loop.
                self._inbox = inbox[index:] + self._inbox
                self._preparing = True
                self.context.spawn(self._prepare(submission, needs))
                return True
            except TooFarBehind:
                self._send_back(submission, "too much was committed since its revision")
            except Exception:
                self._fault(submission)
                if self.core.torn:
                    self._inbox = inbox[index + 1 :] + self._inbox
                    return False
            else:
                submission.receipt = receipt
                self._accepted.append(submission)
                if not receipt.duplicate and receipt.entry is not None:
                    self._entries.append(receipt.entry)
                    bulk += receipt.entry.bulk
                    if submission.revision < receipt.revision - 1:
                        self.context.counters.operations_transformed += 1
        return True

    def _fault(self, submission: Submission) -> None:
        """A fault of ours came up in its work. It is refused for good: as often as it were tried again, it would come up again."""
        log.exception("document %s: an operation", self.id, extra=submission.collaborator.session.about)
        self.context.counters.operations_refused += 1
        submission.answer.fail(SynclineError(ErrorCode.OPERATION_INVALID, "the server has failed to do it"))

    async def _prepare(self, submission: Submission, needs: OutdatedRevision | Laborious) -> None:
        try:
            if isinstance(needs, OutdatedRevision):
                await widen(self, needs.base)
            else:
                await submission.labour(self, needs, lambda: self._waits(submission))
        except SessionGone:
            submission.collaborator.sent_back = True
        except Exception as error:
            revision, about = submission.revision, submission.collaborator.session.about
            log.info("document %s: an operation made at revision %d: %s", self.id, revision, error, extra=about)
            if not self._waits(submission):
                return
            self._inbox.remove(submission)
            if isinstance(needs, Laborious) and not isinstance(error, (TooFarBehind, SynclineError, Unavailable)):
                self._fault(submission)
            elif isinstance(error, SynclineError) and (
                submission.kind != "edit" or error.code is ErrorCode.OPERATION_INVALID
            ):
                submission.answer.fail(error)
            else:
                ours = not isinstance(error, TooFarBehind)
                self._send_back(submission, "it cannot be moved to the head here", ours=ours)
        finally:
            self.prepared()

    def _send_back(self, submission: Submission, why: str, *, ours: bool = False) -> None:
        """Its client joins again and moves it to the head itself: nothing of it is lost, and the work is the client's. ``ours``: we
        could not, for no fault of its own."""
        answer, collaborator = submission.answer, submission.collaborator
        collaborator.sent_back = True  # what it sent behind this one counts on it
        answer.fail(SynclineError(ErrorCode.DOCUMENT_UNAVAILABLE, f"{why}; join again"))
        if not ours and submission.revision < collaborator.since:
            # Made before the join: for who only pretends to move it, it would be free. Who is overtaken on the way cannot know better.
            collaborator.session.misbehaved()
        self.remove(collaborator)
        collaborator.session.push("document:resync", {"document": self.id, "reason": f"an operation: {why}"})

    def _waits(self, submission: Submission) -> bool:
        """Whether it still does: its client may have gone, or was sent out."""
        return submission in self._inbox

    # Stage 3: commit -----------------------------------------------------------------------------------------

    def _commit(self) -> None:
        self.committing = True
        base = self.core.revision - len(self._entries)
        turn = Turn(base, len(self._entries), self.type.encode_entries(self._entries), self.context.clock.time())
        self.snapshots.logged(len(turn.body))
        started = self.context.clock.monotonic()

        def done(revision: int | None, error: Exception | None) -> None:
            self.context.counters.commits.observe(self.context.clock.monotonic() - started)
            self.committing = False
            if error is not None or revision is None:
                self._commit_failed(error)
                return
            try:
                self._committed(revision)
            except Exception:
                self._broken("the end of a commit")

        self.context.store.append(self.id, self.core.generation, turn, done)

    def _commit_failed(self, error: Exception | None) -> None:
        log.error("commit of document %s at revision %d failed: %s", self.id, self.core.revision, error)
        self.context.counters.commit_failures += 1
        reason = "another node has taken over this document" if isinstance(error, Conflict) else "the commit failed"
        # The core is ahead of the disk now: it must not be used again.
        self.context.registry.drop(self, reason)

    # Stage 4: broadcast and ack ------------------------------------------------------------------------------

    def _committed(self, revision: int) -> None:
        if self.closed:
            return
        self.context.counters.operations_accepted += len(self._entries)
        self.context.counters.undo_dropped += self.core.undo_dropped - self._undo_dropped
        self._undo_dropped = self.core.undo_dropped
        for entry in self._entries:
            if entry.client not in self.collaborators:  # it has left meanwhile; its operation made it a cursor
                self.core.drop_cursor(entry.client)
        for slow, at in broadcast(self.id, revision, self._entries, self.hashes.due(self), self.collaborators.values()):
            self.context.registry.left_out(self, slow, at)
        self._scheduler.sent(len(self.collaborators))
        self._entries = []
        self._answer()
        if not self._settled:  # who waits may need the window as it is
            self.core.trim()
        self.release()
        self.snapshots.consider(self)
        self._go_on()

    def _go_on(self) -> None:
        if self._inbox or self._cursors or self.hashes.wanted:
            self.schedule()
        self.context.registry.consider_idle(self)

    def prepared(self) -> None:
        self._preparing = False
        self._go_on()

    def _answer(self) -> None:
        accepted, self._accepted = self._accepted, []
        fate_known(accepted, self.context)
        for submission in accepted:
            receipt, answer = submission.receipt, submission.answer
            assert receipt is not None
            if not answer.wanted and not receipt.duplicate:
                continue  # the shared frame was the ack
            ack = {"document": self.id, "revision": receipt.revision, "seq": submission.seq}
            if submission.kind != "edit":
                ack["undo"], ack["redo"] = self.core.undo_depth(submission.collaborator.client)
            if answer.wanted:
                answer.reply(ack)
            elif receipt.duplicate:
                submission.collaborator.session.push("document:ack", ack)
            if receipt.duplicate:
                self.context.counters.operations_duplicate += 1

    # Joining and leaving -------------------------------------------------------------------------------------

    async def settle(self) -> None:
        if not self.committing:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def wake() -> None:
            if not future.done():
                future.set_result(None)

        self._settled.append(wake)
        await future

    def notify(self, event: str, data: dict[str, Any], skip: Collaborator | None) -> None:
        """A push to every collaborator but one."""
        push = wire.Push(event, {"document": self.id, **data})
        for collaborator in self.collaborators.values():
            if collaborator is not skip:
                collaborator.session.connection.deliver(push.frame(collaborator.session.codec))

    def add(self, collaborator: Collaborator) -> None:
        self.collaborators[collaborator.client] = collaborator
        # What the client's former connection left here is not in the state that it gets now: it submits it again, moved
        # on, and the two must not meet.
        again = SynclineError(ErrorCode.DOCUMENT_UNAVAILABLE, "joined again")
        self._fail_waiting(again, lambda one: one.collaborator.client == collaborator.client)
        collaborator.session.documents[self.id] = collaborator
        if self.idle is not None:
            self.idle.cancel()
            self.idle = None

    def remove(self, collaborator: Collaborator) -> None:
        session = collaborator.session
        if session.documents.get(self.id) is collaborator:
            del session.documents[self.id]
        if self.collaborators.get(collaborator.client) is not collaborator:
            return
        del self.collaborators[collaborator.client]
        self._cursors.forget(collaborator.client)
        self.core.drop_cursor(collaborator.client)
        gone = {"client": collaborator.client, "user": session.user, "name": session.name}
        self.notify("document:collaborator_left", gone, None)
        self.context.registry.consider_idle(self)

    def role_changed(self, user: str, role: str | None) -> None:
        """Takes effect at once; None sends the user's clients out."""
        self.grants += 1
        if role in (None, "reader"):
            changed = SynclineError(ErrorCode.FORBIDDEN, "your role was changed")
            self._fail_waiting(changed, lambda one: one.collaborator.session.user == user)
        for collaborator in [one for one in self.collaborators.values() if one.session.user == user]:
            if role is None:
                self.remove(collaborator)
                collaborator.session.push("document:removed", {"document": self.id})
            elif collaborator.role != role:
                collaborator.role = role
                self.notify("document:role", {"client": collaborator.client, "user": user, "role": role}, None)

    def _fail_waiting(self, error: SynclineError, which: Callable[[Submission], bool]) -> None:
        """What is not in a commit yet."""
        waiting, self._inbox = self._inbox, []
        for submission in waiting:
            if which(submission):
                submission.answer.fail(error)
            else:
                self._inbox.append(submission)

    async def save(self) -> None:
        await self.snapshots.save(self)

    def close(self) -> None:
        self.closed = True
        self.hashes.end()
        if self.idle is not None:
            self.idle.cancel()
            self.idle = None

    def abandon(self, reason: str) -> None:
        error = SynclineError(ErrorCode.DOCUMENT_UNAVAILABLE, reason + "; join again")
        self._fail_waiting(error, lambda _: True)
        fate_known(self._accepted, self.context)
        for submission in self._accepted:
            submission.answer.fail(error)
        self._accepted, self._entries = [], []

    def release(self) -> None:
        settled, self._settled = self._settled, []
        for callback in settled:
            callback()

    @property
    def busy(self) -> bool:
        return bool(
            self.pins or self.committing or self._inbox or self._preparing or self._settled or self.snapshots.saving
        )
