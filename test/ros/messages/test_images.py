import array
import tracemalloc

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sensor_msgs.msg import CompressedImage, Image

from depth_retrofit_ros.errors import ImageError
from depth_retrofit_ros.io.encodings import TABLE
from depth_retrofit_ros.ros.messages.images import ENCODINGS, MAX_PIXELS, check_layout, compressed_to_rgb, decode, image_to_rgb

HEIGHT, WIDTH = 8, 12
LEFT, RIGHT = (200, 100, 50), (30, 60, 220)


EXACT = tuple(f"{order}{depth}" for depth in (8, 16) for order in ("rgb", "bgr", "rgba", "bgra")) + (
    "8UC3",
    "8UC4",
    "16UC3",
    "16UC4",
)
GRAY = ("mono8", "8UC1", "mono16")
COLOR = [name for name in ENCODINGS if name not in GRAY]


def two_colors() -> np.ndarray:
    image = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    image[:, : WIDTH // 2], image[:, WIDTH // 2 :] = LEFT, RIGHT
    return image


def to_message(rows: np.ndarray, encoding: str, height: int = HEIGHT, width: int = WIDTH, padding: int = 0) -> Image:
    """rows: uint8 [rows, bytes]; padding: bytes of rubbish after each row."""
    rows = np.pad(rows, ((0, 0), (0, padding)), constant_values=0xAB)
    message = Image(height=height, width=width, encoding=encoding, step=rows.shape[1])
    message.data = array.array("B", rows.tobytes())
    return message


def studio_yuv(rgb: np.ndarray) -> np.ndarray:
    """BT.601 with studio swing (Y 16…235), from the standard's coefficients; uint8 [..., 3]."""
    r, g, b = np.moveaxis(rgb.astype(float) / 255, -1, 0)
    luma = 0.299 * r + 0.587 * g + 0.114 * b
    yuv = np.stack((16 + 219 * luma, 128 + 224 * 0.5 * (b - luma) / 0.886, 128 + 224 * 0.5 * (r - luma) / 0.701), axis=-1)
    return np.round(yuv).astype(np.uint8)


def encode(image: np.ndarray, encoding: str) -> np.ndarray:
    """Rows of bytes of ``image`` in ``encoding``, written from the definitions of the formats."""
    height, width = image.shape[:2]
    if "16" in encoding:
        deep = encode(image, encoding.replace("16", "8", 1)).astype("<u2") * 257  # 255 → 65535
        return deep.view(np.uint8)
    if encoding in EXACT:
        pixels = image if encoding.startswith("rgb") else image[..., ::-1]
        if encoding.endswith(("a8", "C4")):
            pixels = np.dstack((pixels, np.full((height, width), 7, np.uint8)))
        return pixels.reshape(height, -1)
    if encoding.startswith("bayer_"):
        channel = {"r": 0, "g": 1, "b": 2}
        mosaic = np.empty((height, width), np.uint8)
        for i, letter in enumerate(encoding[len("bayer_") : -1]):
            mosaic[i // 2 :: 2, i % 2 :: 2] = image[i // 2 :: 2, i % 2 :: 2, channel[letter]]
        return mosaic
    if encoding in GRAY:
        return np.ascontiguousarray(image[..., 0])
    y, u, v = np.moveaxis(studio_yuv(image), -1, 0)
    if encoding in ("nv12", "nv21"):
        chroma = (u, v) if encoding == "nv12" else (v, u)
        interleaved = np.dstack([plane[::2, ::2] for plane in chroma]).reshape(height // 2, width)
        return np.vstack((y, interleaved))
    if encoding == "nv24":  # chroma as wide as twice the luma: two rows of the message for each row of pixels
        return np.vstack((y, np.dstack((u, v)).reshape(2 * height, width)))
    chroma = np.where(np.arange(width) % 2 == 0, u, np.roll(v, 1, axis=1))
    pair = (chroma, y) if encoding in ("yuv422", "uyvy") else (y, chroma)
    return np.dstack(pair).reshape(height, -1)


@pytest.mark.parametrize(
    ("encoding", "padding"), [(name, padding) for name in COLOR for padding in ((0, 4, 13) if name != "nv24" else (0,))]
)
def test_colours_and_places_survive(encoding: str, padding: int) -> None:
    image = two_colors()
    rgb = image_to_rgb(to_message(encode(image, encoding), encoding, padding=padding))
    assert rgb.shape == image.shape and rgb.dtype == np.uint8 and rgb.flags.c_contiguous
    away_from_edges = np.r_[2:4, 8:10]  # where a mosaic's neighbours have the pixel's own colour
    error = np.abs(rgb.astype(int) - image)[2:-2][:, away_from_edges]
    assert error.max() <= (0 if encoding in EXACT else 3)


@pytest.mark.parametrize("encoding", ["mono8", "8UC1"])
@pytest.mark.parametrize("padding", [0, 5])
def test_8_bit_grey_stays_grey(padding: int, encoding: str) -> None:
    gray = np.arange(HEIGHT * WIDTH, dtype=np.uint8).reshape(HEIGHT, WIDTH)
    rgb = image_to_rgb(to_message(gray, encoding, padding=padding))
    np.testing.assert_array_equal(rgb, np.repeat(gray[..., None], 3, axis=2))


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("padding", [0, 3])
def test_mono16_is_scaled_and_its_byte_order_honoured(big_endian: bool, padding: int) -> None:
    values = np.linspace(0, 65535, HEIGHT * WIDTH).astype(np.uint16).reshape(HEIGHT, WIDTH)
    rows = np.ascontiguousarray(values.astype(">u2" if big_endian else "<u2")).view(np.uint8)
    message = to_message(rows, "mono16", padding=padding)
    message.is_bigendian = int(big_endian)
    rgb = image_to_rgb(message)
    np.testing.assert_array_equal(rgb[..., 0], np.round(values / 257.0).astype(np.uint8))
    assert (rgb == rgb[..., :1]).all()


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("encoding", [name for name in EXACT if "16" in name])
def test_16_bit_colors_are_scaled_as_cv_bridge_scales_them(encoding: str, big_endian: bool) -> None:
    """By 255 / 65535, rounded: neither the high byte nor clipped."""
    values = np.random.default_rng(1).integers(0, 65536, (HEIGHT, WIDTH, 4), dtype=np.uint16)
    channels = 4 if encoding.endswith("C4") or "a" in encoding else 3
    rows = np.ascontiguousarray(values[..., :channels].astype(">u2" if big_endian else "<u2")).view(np.uint8).reshape(HEIGHT, -1)
    message = to_message(rows, encoding, padding=3)
    message.is_bigendian = int(big_endian)
    rgb = values[..., :3] if encoding.startswith("rgb") else values[..., 2::-1]
    np.testing.assert_array_equal(image_to_rgb(message), np.round(rgb / 257.0).astype(np.uint8))


@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
def test_a_deep_mosaic_is_demosaiced_before_it_is_scaled(pattern: str) -> None:
    """As cv_bridge does it; the other order would round each neighbor by itself."""
    mosaic = np.random.default_rng(2).integers(0, 65536, (HEIGHT, WIDTH), dtype=np.uint16)
    second_row = {"rggb": "BG", "bggr": "RG", "gbrg": "GR", "grbg": "GB"}  # by which OpenCV names the pattern
    code = getattr(cv2, f"COLOR_Bayer{second_row[pattern]}2RGB")
    rgb = image_to_rgb(to_message(mosaic.astype("<u2").view(np.uint8), f"bayer_{pattern}16"))
    np.testing.assert_array_equal(rgb, np.round(cv2.cvtColor(mosaic, code) / 257.0).astype(np.uint8))


@pytest.mark.parametrize("padding", [0, 4])
def test_nv24_has_chroma_for_each_pixel_and_the_arithmetic_of_the_other_yuv_encodings(padding: int) -> None:
    image = np.random.default_rng(4).integers(0, 256, (7, 9, 3), dtype=np.uint8)  # odd sizes are fine
    y, u, v = np.moveaxis(studio_yuv(image), -1, 0)
    luma = np.pad(y, ((0, 0), (0, padding)))
    chroma = np.pad(np.dstack((u, v)).reshape(7, 18), ((0, 0), (0, 2 * padding)))
    message = to_message(np.vstack((luma, chroma.reshape(14, 9 + padding))), "nv24", 7, 9)
    each_twice = np.repeat(image, 2, axis=1)
    expected = image_to_rgb(to_message(encode(each_twice, "uyvy"), "uyvy", 7, 18))[:, ::2]
    np.testing.assert_array_equal(image_to_rgb(message), expected)


def test_unpadded_rgb8_is_not_copied() -> None:
    message = to_message(encode(two_colors(), "rgb8"), "rgb8")
    rgb = image_to_rgb(message)
    message.data[0] = 99
    assert rgb[0, 0, 0] == 99


def lie(**changes: object) -> Image:
    message = to_message(encode(two_colors(), "rgb8"), "rgb8")
    for name, value in changes.items():
        setattr(message, name, value)
    return message


@pytest.mark.parametrize(
    ("message", "told"),
    [
        (lie(data=array.array("B", bytes(HEIGHT * WIDTH * 3 - 1))), "truncated"),
        (lie(data=array.array("B")), "truncated"),
        (lie(data=array.array("B", bytes(HEIGHT * WIDTH * 3 + 1))), "mislabelled"),
        (lie(step=WIDTH * 3 - 1), "step"),
        (lie(step=0), "step"),
        (lie(step=2**32 - 1), "truncated"),
        (lie(height=0), "empty"),
        (lie(width=0), "empty"),
        (lie(height=0, width=0, step=0, data=array.array("B")), "empty"),
        (lie(height=2**32 - 1, width=2**32 - 1, step=2**32 - 1), "megapixels"),
        (lie(height=HEIGHT + 1), "truncated"),
        (lie(encoding="rgb16"), "step"),
        (lie(encoding="16UC1"), "not supported"),
        (lie(encoding="nv24"), "truncated"),
        (lie(encoding="32FC1"), "not supported"),
        (lie(encoding=""), "not supported"),
        (lie(encoding="rgb8\nrgb8"), "not supported"),
        (lie(encoding="bgra8"), "step"),
        (to_message(np.zeros((HEIGHT, 22), np.uint8), "yuv422", width=11), "even"),
        (to_message(np.zeros((10, WIDTH), np.uint8), "nv12", height=7), "even"),
        (to_message(np.zeros((HEIGHT, WIDTH), np.uint8), "nv12"), "truncated"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_lie_gives_one_line(message: Image, told: str) -> None:
    with pytest.raises(ImageError, match=told) as error:
        image_to_rgb(message)
    assert "\n" not in str(error.value)


def test_a_claim_of_gigabytes_allocates_nothing() -> None:
    message = lie(height=6000, width=8000, step=24000)  # within MAX_PIXELS, 144 MB
    assert MAX_PIXELS > 6000 * 8000
    tracemalloc.start()
    try:
        with pytest.raises(ImageError):
            image_to_rgb(message)
        allocated = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert allocated < 1_000_000


@settings(max_examples=300, deadline=None)
@given(
    height=st.integers(0, 12) | st.integers(0, 2**32 - 1),
    width=st.integers(0, 12) | st.integers(0, 2**32 - 1),
    step=st.integers(0, 40) | st.integers(0, 2**32 - 1),
    encoding=st.sampled_from(ENCODINGS) | st.text(max_size=8),
    big_endian=st.integers(0, 255),
    data=st.binary(max_size=600),
)
def test_any_message_gives_an_image_or_one_line(
    height: int, width: int, step: int, encoding: str, big_endian: int, data: bytes
) -> None:
    message = Image(height=height, width=width, step=step, encoding=encoding, is_bigendian=big_endian, data=array.array("B", data))
    try:
        rgb = image_to_rgb(message)
    except ImageError as error:
        assert "\n" not in str(error)
    else:
        assert rgb.shape == (height, width, 3)


def test_wherever_the_size_and_data_agree_there_is_an_image() -> None:
    """The counterpart of the fuzz test, which alone would accept a decoder that refuses everything."""
    for encoding in ENCODINGS:
        assert image_to_rgb(to_message(encode(two_colors(), encoding), encoding)).shape == (HEIGHT, WIDTH, 3)


def coded(extension: str, image: np.ndarray, format_: str | None = None) -> CompressedImage:
    ok, data = cv2.imencode(extension, image)
    assert ok
    return CompressedImage(format=format_ or f"rgb8; {extension[1:]} compressed bgr8", data=array.array("B", data.tobytes()))


def smooth(height: int = 48, width: int = 64) -> np.ndarray:
    noise = np.random.default_rng(3).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC))


@pytest.mark.parametrize(("extension", "tolerance"), [(".png", 0.0), (".jpg", 3.0)])
def test_compressed_images_keep_colour_order(extension: str, tolerance: float) -> None:
    image = smooth()
    rgb = compressed_to_rgb(coded(extension, image[..., ::-1]))
    assert rgb.flags.c_contiguous
    assert np.abs(rgb.astype(int) - image).mean() <= tolerance


def test_grey_and_deep_and_transparent_pngs_become_rgb() -> None:
    image = smooth()
    gray = compressed_to_rgb(coded(".png", image[..., 0], "mono8; png compressed "))
    np.testing.assert_array_equal(gray, np.repeat(image[..., :1], 3, axis=2))
    assert compressed_to_rgb(coded(".png", image.astype(np.uint16) * 257)).shape == image.shape
    assert compressed_to_rgb(coded(".png", np.dstack((image, image[..., 0])))).shape == image.shape


@pytest.mark.parametrize("encoding", ["bayer_grbg8", "bayer_grbg16"])
def test_a_compressed_mosaic_is_demosaiced(encoding: str) -> None:
    rows = encode(two_colors(), encoding)
    mosaic = rows.view(np.uint16) if encoding.endswith("16") else rows
    rgb = compressed_to_rgb(coded(".png", mosaic, f"{encoding}; png compressed {encoding}"))
    np.testing.assert_array_equal(rgb, image_to_rgb(to_message(rows, encoding)))


def test_a_deep_mosaic_in_a_jpeg_has_8_bit() -> None:
    mosaic = np.full((HEIGHT, WIDTH), 77, np.uint8)
    assert (compressed_to_rgb(coded(".jpg", mosaic, "bayer_rggb16; jpeg compressed bayer_rggb16")) == 77).all()


@pytest.mark.parametrize("extension", [".png", ".jpg"])
def test_every_truncation_gives_one_line(extension: str) -> None:
    whole = bytes(coded(extension, smooth()).data)
    cuts = sorted({*range(0, 700, 9), *range(0, len(whole), 97), len(whole) - 1, len(whole) - 3})
    for cut in cuts:
        with pytest.raises(ImageError) as error:
            compressed_to_rgb(CompressedImage(format="jpeg", data=array.array("B", whole[:cut])))
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "neither JPEG nor PNG"),
        (b"GIF89a" + bytes(100), "neither JPEG nor PNG"),
        (b"\xff\xd8" + b"\xff" * 50, "frame header"),
        (b"\xff\xd8\xff\xd9", "frame header"),
        (b"\xff\xd8\xff\xc0\x00\x11\x08\xff\xff\xff\xff" + bytes(20) + b"\xff\xd9", "megapixels"),
        (b"\xff\xd8\xff\xc0\x00\x11\x08\x00\x00\x00\x10" + bytes(20) + b"\xff\xd9", "empty"),
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + b"\x00\x00\xff\xff" * 2 + bytes(20) + b"IEND", "megapixels"),
        (b"\xff\xd8\xff\xc0\x00\x11\x08\x00\x10\x00\x10" + bytes(20) + b"\xff\xd9", "damaged"),
    ],
)
def test_hostile_files_give_one_line(data: bytes, told: str) -> None:
    with pytest.raises(ImageError, match=told) as error:
        compressed_to_rgb(CompressedImage(format="jpeg", data=array.array("B", data)))
    assert "\n" not in str(error.value)


@settings(max_examples=200, deadline=None)
@given(st.data(), st.sampled_from([".png", ".jpg"]))
def test_any_damage_gives_an_image_of_the_coded_size_or_one_line(data: st.DataObject, extension: str) -> None:
    damaged = bytearray(coded(extension, smooth(16, 16)).data)
    for _ in range(data.draw(st.integers(1, 6))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        rgb = compressed_to_rgb(CompressedImage(format="", data=array.array("B", bytes(damaged))))
    except ImageError as error:
        assert "\n" not in str(error)
    else:
        assert rgb.ndim == 3 and rgb.dtype == np.uint8


def test_decode_takes_either_kind() -> None:
    image = smooth()
    np.testing.assert_array_equal(decode(to_message(image.reshape(48, -1), "rgb8", 48, 64)), image)
    np.testing.assert_array_equal(decode(coded(".png", image[..., ::-1])), image)


NOT_IN_EVERY_CV_BRIDGE = ("uyvy", "yuyv", "yuv422_yuy2", "nv12", "nv21", "nv24")


@pytest.mark.parametrize("encoding", [name for name in ENCODINGS if "UC" not in name])  # which it takes for "no colours"
def test_we_agree_with_cv_bridge(encoding: str) -> None:
    """Where it is installed; it does not come as a wheel."""
    cv_bridge = pytest.importorskip("cv_bridge", reason="cv_bridge is not installed: it comes with a ROS installation")
    rows = encode(smooth(), encoding)
    message = to_message(rows, encoding, 48, 64)
    try:
        theirs = cv_bridge.CvBridge().imgmsg_to_cv2(message, "rgb8")
    except cv_bridge.CvBridgeError as error:
        if encoding in NOT_IN_EVERY_CV_BRIDGE:
            pytest.skip(f"this cv_bridge: {error}")
        raise
    np.testing.assert_array_equal(image_to_rgb(message), theirs)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_layout_is_judged_by_the_numbers_alone(encoding: str) -> None:
    message = to_message(encode(two_colors(), encoding), encoding)
    assert check_layout(message) is TABLE[encoding]
    for lie in ({"height": 0}, {"width": 0}, {"height": HEIGHT + 2}, {"width": 10 * WIDTH}, {"height": 100_000, "width": 100_000}):
        claimed = Image(encoding=encoding, data=message.data, step=message.step, height=HEIGHT, width=WIDTH)
        for name, number in lie.items():
            setattr(claimed, name, number)
        with pytest.raises(ImageError):
            check_layout(claimed)
