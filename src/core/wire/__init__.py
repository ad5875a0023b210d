"""Bytes on the wire: WebSocket frames, envelopes in JSON and MessagePack, payloads, compression. On values and storage."""
