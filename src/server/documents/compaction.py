"""What happens to old operations, in the background, one document at a time: merging, checkpoints, pruning.

* Turns below the newest snapshot, and below the window of a document that is loaded, are merged into packed blocks: the
  last block that is not full is written anew with what has come since. Each step reads and writes a bounded piece, and
  its effect on the store is one atomic replacement, so that it may end anywhere.
* A text is kept as a checkpoint whenever enough operations have come since the last one.
* ``documents.history`` says what is deleted, in whole blocks (so that with "days" none spans two days). The horizon
  moves only up to a turn's beginning that the newest snapshot and the window lie above, and after the text there was
  stored.

A document is looked after when a snapshot of it was stored and when it is unloaded; with a retention by age, or by
checkpoints, all documents are looked at every ``documents.retention_seconds``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ...core.documents.document_type import DocumentType
from ...core.errors import SynclineError
from ...core.storage.commits import merge_bodies, new_text_snapshot
from ...core.storage.log_body import LogReader, pack_entries
from ...core.storage.record_format import pack, raw_size
from ...core.types import document_type
from ..config.documents import DocumentsConfig
from ..limits.fair_thread import Steps
from ..seams.outcome import Unavailable
from ..seams.store import DocumentSnapshot, DocumentState, StoredDocument, Turn
from .loaded import Context
from .revisions import content_at
from .threads import OWN

log = logging.getLogger("syncline.history")

#: Operations that one step reads at most, and those of a block.
STEP_OPERATIONS = 16_384
BLOCK_OPERATIONS = 524_288

#: A block is full from here on. Turns are larger than what they add to a block, so the last bit would take many steps.
FULL = 0.9

#: A document that nobody has open is merged from so few operations on.
IDLE_OPERATIONS = 64

#: Documents whose ids a look at all of them reads at once.
PAGE = 100


class Compaction:
    """Bound: ``documents.loaded`` documents wait; of those beyond, each has its next snapshot."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._waiting: dict[str, None] = {}  # in order
        self._worker: asyncio.Task[None] | None = None
        self._timer: asyncio.Task[None] | None = None
        self._lock = asyncio.Lock()  # one document at a time
        self._closed = False

    @property
    def _config(self) -> DocumentsConfig:
        return self._context.config.documents

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def start(self) -> None:
        if self._config.history != "full":
            self._timer = asyncio.get_running_loop().create_task(self._look_at_all())

    async def close(self) -> None:
        """Ends after the step under way."""
        self._closed = True
        self._waiting.clear()
        if self._timer is not None:
            self._timer.cancel()
            await asyncio.gather(self._timer, return_exceptions=True)
        if self._worker is not None:
            await asyncio.gather(self._worker, return_exceptions=True)

    def consider(self, document: str) -> None:
        """Looks after it soon."""
        if self._closed or len(self._waiting) >= self._config.loaded:
            return
        self._waiting[document] = None
        if self._worker is None:
            self._worker = self._context.spawn(self._work())

    async def _work(self) -> None:
        try:
            while self._waiting:
                document = next(iter(self._waiting))
                del self._waiting[document]
                await self.look_after(document)
        finally:
            self._worker = None

    async def _look_at_all(self) -> None:
        while True:
            await asyncio.sleep(self._config.retention_seconds)
            after = ""
            try:
                while documents := await self._context.store.documents(after, PAGE):
                    for document in documents:
                        await self.look_after(document)
                    after = documents[-1]
            except Unavailable as error:
                log.warning("history: %s", error)

    async def look_after(self, document: str) -> None:
        """All that is due for one document. Never raises for what a store or a body may be like."""
        async with self._lock:
            try:
                state = await self._context.store.document_state(document)
                if state is not None:
                    await self._prune(await self._compact(state))
            except (Unavailable, ValueError, SynclineError) as error:
                self._context.counters.history_failures += 1
                log.warning("history of document %s: %s", document, error)

    def _limit(self, state: DocumentState) -> int:
        """Turns up to this revision are nobody's but ours."""
        live = self._context.registry.live.get(state.record.id)
        return state.snapshot if live is None else min(state.snapshot, live.core.floor)

    # Merging -------------------------------------------------------------------------------------------------

    async def _compact(self, state: DocumentState) -> DocumentState:
        document, generation = state.record.id, state.record.generation
        loaded = document in self._context.registry.live
        least = self._config.compact_operations if loaded else min(IDLE_OPERATIONS, self._config.compact_operations)
        if self._limit(state) - state.compacted < least:
            return state
        while not self._closed and state.compacted < (limit := self._limit(state)):
            since = state.compacted
            # The last block too, if there is one: it may have room.
            start = since - 1 if since > state.horizon else since
            turns = await self._context.store.turns(document, start, min(limit, since + STEP_OPERATIONS))
            group = self._group([turn for turn in turns if turn.base + turn.count <= limit], since)
            if not group:
                break
            if group[0].base == since:  # the block before is full: here a text saves to unpack it
                await self._checkpoint(state)
            block = await self._context.threads.own(_merge, group, round(self._config.block_time_seconds * 1000))
            if not await self._context.store.replace_turns(document, generation, block):
                break  # deleted or created anew meanwhile
            counters = self._context.counters
            counters.blocks += 1
            counters.block_operations += block.count
            counters.block_bytes += len(block.body)
            state = replace(state, compacted=block.base + block.count)
        return state

    def _group(self, turns: Sequence[Turn], since: int) -> list[Turn]:
        """The turns that make the next block: those after ``since``, with the block before them while it has room."""
        group: list[Turn] = []
        size = count = 0
        policy, most = self._config.history, BLOCK_OPERATIONS
        if policy == "checkpoints":
            most = self._config.compact_operations  # blocks are pruned as a whole
        if turns and turns[0].base < since and raw_size(turns[0].body) > self._config.block_bytes * FULL:
            turns = turns[1:]
        for turn in turns:
            size += raw_size(turn.body)
            count += turn.count
            other_day = policy.startswith("days=") and bool(group) and _day(group[-1]) != _day(turn)
            if group and (size > self._config.block_bytes or count > most or other_day):
                if group[-1].base >= since:
                    break
                group, size, count = [], raw_size(turn.body), turn.count  # the block before is full
            group.append(turn)
        return group if group and group[-1].base >= since else []

    # Checkpoints ---------------------------------------------------------------------------------------------

    async def _checkpoint(self, state: DocumentState) -> None:
        document, at = state.record.id, state.compacted
        known = await self._context.store.checkpoints(document)
        last = max((revision for revision in known if revision <= at), default=state.horizon)
        if at <= max(last, state.horizon) or at == state.snapshot:  # the newest snapshot serves as well
            return
        content: str | None = None
        if at - last < self._config.checkpoint_operations:
            turns = await self._context.store.turns(document, last, at)
            # Of a block that begins before the last checkpoint, its part.
            size = sum(raw_size(turn.body) * min(1.0, (turn.base + turn.count - last) / turn.count) for turn in turns)
            if size < self._config.checkpoint_bytes:
                return
            content = await self._content(document, at)
            if size < len(content.encode()):  # reading the operations is cheaper than reading the content
                return
        if await self._keep(state, at, content):
            await self._thin(state)

    async def _content(self, document: str, revision: int) -> str:
        """As its type dumps it."""
        stored = await self._context.store.load_document(document, revision)
        if stored is None:
            raise ValueError("it was deleted")
        type = document_type(stored.record.type)
        return await self._context.threads.history.work(OWN, _dumped(type, stored, revision), bounded=False)

    async def _keep(self, state: DocumentState, revision: int, content: str | None = None) -> bool:
        """Stores the content at a revision as a checkpoint."""
        dumped = await self._content(state.record.id, revision) if content is None else content
        body = await self._context.threads.own(lambda: pack(new_text_snapshot(dumped)))
        checkpoint = DocumentSnapshot(revision, body)
        kept = await self._context.store.save_checkpoint(state.record.id, state.record.generation, checkpoint)
        self._context.counters.checkpoints += kept
        return kept

    async def _thin(self, state: DocumentState) -> None:
        """Holds the bound on checkpoints: that one goes whose neighbours are closest."""
        revisions = await self._context.store.checkpoints(state.record.id)
        dropped = []
        while len(revisions) > self._config.checkpoints:
            middle = range(1, len(revisions) - 1)
            index = min(middle, key=lambda index: revisions[index + 1] - revisions[index - 1], default=0)
            dropped.append(revisions.pop(index))
        if dropped:
            await self._context.store.drop_checkpoints(state.record.id, state.record.generation, dropped)

    # Retention -----------------------------------------------------------------------------------------------

    async def _prune(self, state: DocumentState) -> None:
        policy = self._config.history
        if policy == "full" or self._closed:
            return
        if policy == "checkpoints":
            horizon = await self._by_count(state)
        else:
            horizon = await self._by_age(state, self._context.clock.time() - 86_400 * int(policy.removeprefix("days=")))
        document, generation = state.record.id, state.record.generation
        if horizon <= state.horizon or not await self._keep(state, horizon):
            return
        pruned = await self._context.store.prune(document, generation, horizon)
        self._context.counters.operations_pruned += pruned
        if not pruned:
            return
        log.debug("document %s: operations up to revision %d were pruned", document, horizon)
        if policy != "checkpoints":
            old = [revision for revision in await self._context.store.checkpoints(document) if revision < horizon]
            await self._context.store.drop_checkpoints(document, generation, old)
        else:
            await self._space(state, horizon)
            await self._thin(state)

    async def _by_count(self, state: DocumentState) -> int:
        """The last beginning of a turn that leaves as many operations as a window has."""
        target = min(self._limit(state), state.revision - self._config.window_operations)
        if target - state.horizon < self._config.compact_operations:
            return state.horizon
        turns = await self._context.store.turns(state.record.id, target - 1, target)
        if not turns:
            return state.horizon
        end = turns[-1].base + turns[-1].count
        return end if end <= target else turns[-1].base

    async def _by_age(self, state: DocumentState, oldest: float) -> int:
        """The end of the last turn before that time, of those that may go."""
        limit, horizon = self._limit(state), state.horizon
        while horizon < limit:
            turns = await self._context.store.turns(state.record.id, horizon, min(limit, horizon + STEP_OPERATIONS))
            reached = horizon
            for turn in turns:
                if turn.base != reached or turn.created_at >= oldest or turn.base + turn.count > limit:
                    return reached
                reached += turn.count
            if reached == horizon:
                return horizon
            horizon = reached
        return horizon

    async def _space(self, state: DocumentState, horizon: int) -> None:
        """The former horizon's checkpoint goes unless it is as far from the one before as checkpoints are apart."""
        older = [one for one in await self._context.store.checkpoints(state.record.id) if one < state.horizon]
        last = older[-1] if older else 0
        if state.horizon and horizon - last < self._config.checkpoint_operations:
            await self._context.store.drop_checkpoints(state.record.id, state.record.generation, [state.horizon])


def _day(turn: Turn) -> int:
    return int(turn.created_at // 86_400)


def _dumped(type: DocumentType[Any, Any], stored: StoredDocument, revision: int) -> Steps[str]:
    content = yield from content_at(stored, revision)
    return type.dump(content)


def _merge(turns: Sequence[Turn], time_step: int) -> Turn:
    count = sum(turn.count for turn in turns)
    body = merge_bodies([turn.body for turn in turns], time_step)
    if LogReader(body).count != count:  # what is damaged stays as it is, for whoever repairs it
        raise ValueError(f"the turns from revision {turns[0].base} on do not hold {count} operations")
    return Turn(turns[0].base, count, pack_entries(body), turns[-1].created_at)
