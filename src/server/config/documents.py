"""The section ``documents`` of the configuration (schema.py)."""

from __future__ import annotations

from dataclasses import dataclass

from .setting import setting


@dataclass(frozen=True, slots=True)
class DocumentsConfig:
    create_on_join: bool = setting(True, "A join creates the document when there is none.")
    default_role: str = setting(
        "editor", "Everybody's role in a document made by a join.", choices=("editor", "reader")
    )
    max_length: int = setting(16_777_216, "Longest text.", unit="UTF-16 code units", low=1024, high=268_435_456)
    window_operations: int = setting(10_000, "Operations kept in memory per document.", low=1, high=10_000_000)
    window_bytes: int = setting(
        4_194_304, "Bytes of operations kept in memory per document.", unit="bytes", low=1024, high=1_073_741_824
    )
    clients: int = setting(
        10_000,
        "Clients whose last sequence number is kept in memory per document; older ones are looked up in the log.",
        low=1,
        high=1_000_000,
    )
    undo_depth: int = setting(
        100, "Groups of edits that a client can undo; the oldest is dropped.", low=0, high=10_000, zero="no undo"
    )
    undo_bytes: int = setting(
        4_194_304,
        "Bytes kept per document to undo; the oldest groups are dropped.",
        unit="bytes",
        low=1024,
        high=1_073_741_824,
    )
    undo_history: int = setting(
        20_000, "How many operations back an undo reaches; older groups are dropped.", low=1, high=1_000_000
    )
    undo_group_ms: int = setting(
        1000,
        "Longest pause inside a group: what is typed with shorter ones is undone together, word by word.",
        unit="ms",
        low=0,
        high=60_000,
        zero="every edit by itself",
    )
    pending_operations: int = setting(
        10_000,
        "Operations of one document that wait for the commit in progress; more are refused.",
        low=1,
        high=1_000_000,
    )
    rest_microseconds: int = setting(
        20,
        "Rest between two turns of a document, times the clients in it: a turn sends each of them a frame, and what arrives "
        "meanwhile goes into one. Below 1 ms there is none, and it ends when each client has sent something.",
        unit="us",
        low=0,
        high=1000,
        zero="none",
    )
    rejoin_operations: int = setting(
        1000,
        "Missed operations that a returning client gets one by one; more are composed.",
        low=1,
        high=1_000_000,
    )
    hash_operations: int = setting(
        100,
        "Operations after which clients are told the hash of the content, to compare. Of large rich texts and JSON: less often.",
        low=0,
        high=1_000_000,
        zero="never",
    )
    snapshot_operations: int = setting(
        1000,
        "Operations after which a snapshot is stored; up to 16 times as many while they are fewer bytes than the last one.",
        low=1,
        high=1_000_000,
    )
    history: str = setting(
        "full",
        "Operations that are kept. full: all; days=N: those of the last N days, to 999,999; checkpoints: those in memory, and older"
        " texts.",
        restart=True,
    )
    compact_operations: int = setting(
        4096, "Stored operations after which they are merged into blocks.", low=64, high=1_000_000
    )
    block_bytes: int = setting(
        131_072, "Size of a full block before it is packed.", unit="bytes", low=4096, high=16_777_216
    )
    block_time_seconds: float = setting(
        1.0, "To what times of operations are rounded down in blocks.", unit="s", low=0.001, high=86_400
    )
    checkpoint_operations: int = setting(
        250_000, "Operations between two checkpoints (texts kept to find older ones).", low=1000, high=10_000_000
    )
    checkpoint_bytes: int = setting(
        131_072,
        "Unpacked bytes of operations between two checkpoints, or the size of the text if that is more. At least block_bytes.",
        unit="bytes",
        low=4096,
        high=1_073_741_824,
    )
    checkpoints: int = setting(1000, "Checkpoints kept of a document; of more the crowded go.", low=2, high=1_000_000)
    retention_seconds: float = setting(
        3600.0, "Time between two looks at all documents for operations to prune.", unit="s", low=1, high=604_800
    )
    blame_operations: int = setting(
        500_000, "Operations that one look at who wrote what goes back.", low=1000, high=10_000_000
    )
    idle_seconds: float = setting(
        30.0, "How long a document without clients stays loaded.", unit="s", low=0, high=86_400, zero="unloaded at once"
    )
    loaded: int = setting(
        10_000, "Documents in memory; an idle one makes place, else joins are refused.", low=1, high=1_000_000
    )
