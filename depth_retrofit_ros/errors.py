"""The errors a user can cause, each told in one line that says what to do."""


class DepthRetrofitError(Exception):
    """Base of every error that the CLI and the node report as one line instead of a traceback."""


class ImageError(DepthRetrofitError):
    """An image (file or message) that cannot be read as it claims to be."""


class SparseDepthError(DepthRetrofitError):
    """Sparse depth (an image or a cloud) that cannot be read as it claims to be, or does not fit the camera image."""


class TransformError(DepthRetrofitError):
    """A pose of one frame in another that TF does not tell."""


class CameraError(DepthRetrofitError):
    """Camera intrinsics that are missing, not finite, or do not fit the image."""


class ModelError(DepthRetrofitError):
    """An unknown model, or one whose software is not installed."""


class WeightsError(DepthRetrofitError):
    """A checkpoint that is missing, corrupt, or made for another network."""


class BagError(DepthRetrofitError):
    """A bag that cannot be read or lacks the requested topic."""


class DatasetError(DepthRetrofitError):
    """An image with its true depth, or a stored coarse map, that is missing, unreadable, or not what its format says."""


class OutputError(DepthRetrofitError):
    """A result that cannot be written (or read back) where the user asked."""


class NoRoomError(OutputError):
    """A place in which no result can be written, whichever it is: a full or read-only disk, a store that does not answer."""


class UsageError(DepthRetrofitError):
    """Options that contradict each other."""


class GraphError(DepthRetrofitError):
    """A live ROS graph that did not come up, or stopped answering."""


class SetupError(DepthRetrofitError):
    """A Python environment in which ROS 2 cannot run: none is there, two are mixed, or the messages are not built."""


class StorageError(DepthRetrofitError):
    """A remote store that cannot be reached, or broke off: another try may succeed."""
