"""Rooms: positions, the history ring, fan-out to members, proof of delivery. On wire."""
