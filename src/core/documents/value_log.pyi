"""The undo log of documents of any ``DocumentType``. See value_log.pyx."""

from typing import Any, final

from .document_type import DocumentType
from .undo_log import UndoLog

@final
class ValueLog(UndoLog):
    """Operations as their type has them."""

    def __init__(self, type: DocumentType[Any, Any]) -> None: ...
