"""The errors a user can meet, each with one clear line.

Whatever a person can mend is raised as one of these; the command line prints the message and
exits, an asset fails its partition with it. Anything else is a bug.
"""


class PipelineError(Exception):
    """A fault with a message for people: what is wrong, where, and how to mend it."""


class SettingsError(PipelineError):
    """The environment or a configuration file is not usable."""


class FeedError(PipelineError):
    """A feeds file is not valid; the message names the file, the line and the key."""


class StorageError(PipelineError):
    """The bucket cannot be reached, or an object in it cannot be used."""


class WarehouseError(PipelineError):
    """The warehouse cannot be reached, or refused a statement."""


class ExportError(PipelineError):
    """An export's question, its result or its map is not usable."""


class UploadRefused(PipelineError):
    """A whole upload cannot be loaded, and trying again will not help.

    Args:
        code: Short stable identifier, e.g. ``unknown_header``; tests and metrics rely on it.
        message: One line for the person who sent the file.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
