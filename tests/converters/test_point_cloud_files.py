"""PCD in and out: the ordinary, the odd and the hostile."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import lzf
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pypcd4.pypcd4 import Encoding, PointCloud

from converters.point_cloud_files import PcdEncoding, format_pcd, parse_pcd
from sam4d.structures import InputError, Sweep

ENCODINGS: tuple[PcdEncoding, ...] = ("ascii", "binary", "binary_compressed")
POINTS = np.array([[1.5, -2.0, 0.25], [np.nan, np.nan, np.nan], [100.125, 0.0, -3.5]], dtype=np.float32)
INTENSITY = np.array([0.0, 17.0, 255.0], dtype=np.float32)

float32s = st.floats(width=32, allow_nan=True, allow_infinity=True)


def sweeps() -> st.SearchStrategy[Sweep]:
    def with_length(count: int) -> st.SearchStrategy[Sweep]:
        intensity = st.none() | arrays.arrays(np.float32, count, elements=float32s)
        return st.builds(Sweep, arrays.arrays(np.float32, (count, 3), elements=float32s), intensity)

    return st.integers(0, 40).flatmap(with_length)


def header(fields: str = "x y z intensity", /, **changes: str | None) -> bytes:
    """A header for float32 fields; changes replace lines, None leaves one out."""
    count = len(fields.split())
    lines: dict[str, str | None] = {
        "VERSION": "0.7",
        "FIELDS": fields,
        "SIZE": "4 " * count,
        "TYPE": "F " * count,
        "COUNT": "1 " * count,
        "WIDTH": "3",
        "HEIGHT": "1",
        "VIEWPOINT": "0 0 0 1 0 0 0",
        "POINTS": "3",
        "DATA": "binary",
    }
    lines.update(changes)
    if "WIDTH" in changes and "POINTS" not in changes:
        lines["POINTS"] = None
    return "".join(f"{key} {value}\n" for key, value in lines.items() if value is not None).encode("latin-1")


def table(*columns: tuple[str, np.typing.ArrayLike]) -> np.typing.NDArray[np.void]:
    """Rows of named columns, packed as in a binary file."""
    arrays_ = [np.asarray(values) for _, values in columns]
    rows = np.zeros(3, dtype=[(f"c{k}", column.dtype, column.shape[1:]) for k, column in enumerate(arrays_)])
    for k, column in enumerate(arrays_):
        rows[f"c{k}"] = column
    return rows


def assert_read(data: bytes, intensity: np.typing.NDArray[np.float32] | None = INTENSITY) -> None:
    sweep = parse_pcd(data, "sweep.pcd")
    assert sweep.points_m.dtype == np.float32
    np.testing.assert_array_equal(sweep.points_m, POINTS)
    if intensity is None:
        assert sweep.intensity is None
    else:
        assert sweep.intensity is not None
        assert sweep.intensity.dtype == np.float32
        np.testing.assert_array_equal(sweep.intensity, intensity)


@given(sweep=sweeps(), encoding=st.sampled_from(ENCODINGS))
def test_reading_is_the_inverse_of_writing(sweep: Sweep, encoding: PcdEncoding) -> None:
    back = parse_pcd(format_pcd(sweep, encoding), "sweep.pcd")
    np.testing.assert_array_equal(back.points_m, sweep.points_m)
    assert (back.intensity is None) == (sweep.intensity is None)
    if back.intensity is not None and sweep.intensity is not None:
        np.testing.assert_array_equal(back.intensity, sweep.intensity)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_golden_files(encoding: PcdEncoding) -> None:
    golden = (Path(__file__).with_name("golden") / f"three_points_{encoding}.pcd").read_bytes()
    assert_read(golden)
    # Which of several equivalent encodings LZF chooses is up to its library.
    if encoding != "binary_compressed":
        assert format_pcd(Sweep(POINTS, INTENSITY), encoding) == golden


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_another_reader_reads_what_we_write(encoding: PcdEncoding) -> None:
    random = np.random.default_rng(1)
    sweep = Sweep(random.normal(0, 30, (500, 3)).astype(np.float32), random.uniform(0, 255, 500).astype(np.float32))
    cloud = PointCloud.from_fileobj(io.BufferedReader(io.BytesIO(format_pcd(sweep, encoding))))
    np.testing.assert_array_equal(cloud.numpy(("x", "y", "z")), sweep.points_m)
    np.testing.assert_array_equal(cloud.numpy(("intensity",))[:, 0], sweep.intensity)


@pytest.mark.parametrize("encoding", [Encoding.ASCII, Encoding.BINARY, Encoding.BINARY_COMPRESSED])
def test_we_read_what_another_writer_writes(encoding: Encoding) -> None:
    values = np.round(np.random.default_rng(2).normal(0, 30, (500, 4)), 3).astype(np.float32)
    buffer = io.BytesIO()
    PointCloud.from_xyzi_points(values).save(buffer, encoding=encoding)
    sweep = parse_pcd(buffer.getvalue(), "theirs.pcd")
    np.testing.assert_array_equal(sweep.points_m, values[:, :3])
    np.testing.assert_array_equal(sweep.intensity, values[:, 3])


class TestOddFiles:
    def test_repeated_padding_fields(self) -> None:
        pad = np.zeros((3, 4), dtype=np.uint8)
        rows = table(("x", POINTS[:, 0]), ("y", POINTS[:, 1]), ("z", POINTS[:, 2]), ("_", pad), ("intensity", INTENSITY), ("_", pad))
        odd = header("x y z _ intensity _", SIZE="4 4 4 1 4 1", TYPE="F F F U F U", COUNT="1 1 1 4 1 4")
        assert_read(odd + rows.tobytes())

    def test_a_field_of_count_zero_has_no_bytes(self) -> None:
        rows = np.column_stack([POINTS, INTENSITY])
        assert_read(header("x y z normal intensity", COUNT="1 1 1 0 1") + rows.tobytes())
        text = "\n".join(" ".join(map(str, row)) for row in rows.tolist())
        assert_read(header("x y z normal intensity", COUNT="1 1 1 0 1", DATA="ascii") + text.encode())

    def test_a_field_of_several_values(self) -> None:
        rows = np.column_stack([POINTS[:, :2], np.ones((3, 5)), POINTS[:, 2:], INTENSITY]).astype(np.float32)
        odd = header("x y features z intensity", COUNT="1 1 5 1 1")
        assert_read(odd + rows.tobytes())
        packed = lzf.compress(np.concatenate([rows[:, 0], rows[:, 1], rows[:, 2:7].ravel(), rows[:, 7], rows[:, 8]]).tobytes(), 1000)
        odd = header("x y features z intensity", COUNT="1 1 5 1 1", DATA="binary_compressed")
        assert_read(odd + struct.pack("<II", len(packed), 3 * 9 * 4) + packed)

    @pytest.mark.parametrize("encoding", ENCODINGS)
    def test_bytes_after_the_data(self, encoding: PcdEncoding) -> None:
        assert_read(format_pcd(Sweep(POINTS, INTENSITY), encoding) + b"1 2 3\nrest of a larger buffer\0\xff")

    def test_packed_colour_beside_coordinates(self) -> None:
        colour = np.array([0x00FF00, 0xFFFFFF, 1], dtype=np.uint32).view(np.float32)
        assert_read(header("x y z rgb") + np.column_stack([POINTS, colour]).tobytes(), intensity=None)

    def test_double_coordinates_and_integer_intensity(self) -> None:
        rows = table(
            ("i", INTENSITY.astype(np.uint8)), ("x", POINTS[:, 0].astype(float)), ("y", POINTS[:, 1].astype(float)), ("z", POINTS[:, 2])
        )
        assert_read(header("i x y z", SIZE="1 8 8 4", TYPE="U F F F") + rows.tobytes())

    def test_integer_coordinates(self) -> None:
        rows = np.arange(9, dtype=np.int16).reshape(3, 3)
        sweep = parse_pcd(header("x y z", SIZE="2 2 2", TYPE="I I I") + rows.tobytes(), "sweep.pcd")
        np.testing.assert_array_equal(sweep.points_m, rows.astype(np.float32))

    def test_a_double_beyond_float32_is_a_point_that_is_not_there(self) -> None:
        rows = np.array([[1e300, 0, 0]] * 3)
        sweep = parse_pcd(header("x y z", SIZE="8 8 8") + rows.tobytes(), "sweep.pcd")
        assert np.isinf(sweep.points_m[:, 0]).all()

    @pytest.mark.parametrize("change", [{"COUNT": None}, {"POINTS": None}, {"VIEWPOINT": None}, {"WIDTH": None, "HEIGHT": None}])
    def test_missing_lines(self, change: dict[str, str | None]) -> None:
        lines = {"POINTS": "3", **change}
        assert_read(header("x y z intensity", **lines) + np.column_stack([POINTS, INTENSITY]).tobytes())

    def test_windows_line_ends_comments_and_lower_case(self) -> None:
        text = header(DATA="ascii").decode().replace("FIELDS", "# made by häuser\nfields").replace("\n", "\r\n")
        rows = "1.5 -2 0.25 0\r\n nan NaN -nan 17\r\n100.125\t0 -3.5 255\r\n"
        assert_read(text.encode() + rows.encode())

    def test_an_organised_cloud(self) -> None:
        sweep = parse_pcd(header("x y z", WIDTH="2", HEIGHT="3") + np.arange(18, dtype=np.float32).tobytes(), "sweep.pcd")
        np.testing.assert_array_equal(sweep.points_m, np.arange(18, dtype=np.float32).reshape(6, 3))

    @pytest.mark.parametrize("name", ["intensity", "Intensity", "i", "reflectivity", "reflectance"])
    def test_names_of_intensity(self, name: str) -> None:
        assert_read(header(f"{name} x y z") + np.column_stack([INTENSITY, POINTS]).tobytes())

    def test_no_points(self) -> None:
        for encoding in ENCODINGS:
            assert len(parse_pcd(format_pcd(Sweep(np.zeros((0, 3), dtype=np.float32)), encoding), "sweep.pcd")) == 0


BODY = np.column_stack([POINTS, INTENSITY]).tobytes()


def compressed(packed_bytes: int, raw_bytes: int, packed: bytes, **changes: str | None) -> bytes:
    return header("x y z intensity", **{"DATA": "binary_compressed", **changes}) + struct.pack("<II", packed_bytes, raw_bytes) + packed


@pytest.mark.parametrize(
    ("data", "where", "expected", "found"),
    [
        (b"", "sweep.pcd", "DATA line", "end of the file"),
        (b"\x89PNG\r\n\x1a\n\0\0", "sweep.pcd", "printable ASCII", "PNG"),
        (b"a" * 70_000, "sweep.pcd", "DATA line", "none in the first"),
        (b"VERSION 0.7\n" * 6000, "sweep.pcd", "DATA line", "none in the first"),
        ("FIELDS x y z é\n".encode() + header(), "sweep.pcd", "ASCII", "FIELDS"),
        (header(FIELDS=None) + BODY, "FIELDS", "one entry per field", "none"),
        (header("x y intensity t") + BODY, "FIELDS", "field z", "x y intensity t"),
        (header("x y z x") + BODY, "FIELDS", "one field x", "x y z x"),
        (header(SIZE="4 4 4") + BODY, "SIZE", "4 entries", "3"),
        (header(SIZE="4 4 -4 4") + BODY, "SIZE of field z", "whole number", "'-4'"),
        (header(SIZE="4 4 3 4") + BODY, "SIZE of field z", "2, 4, 8", "3"),
        (header(TYPE="F F X F") + BODY, "TYPE of field z", "F, I or U", "'X'"),
        (header(COUNT="2 1 1 1") + BODY, "COUNT of field x", "1", "2"),
        (header(COUNT="1 1 1 999999999999") + BODY, "COUNT of field intensity", "65536 bytes", "4000000000008 bytes"),
        (header(COUNT="1 1 1 9" + "9" * 400) + BODY, "COUNT of field intensity", "whole number", "'999"),
        (header(POINTS="-3") + BODY, "POINTS", "whole number", "'-3'"),
        (header(POINTS="many") + BODY, "POINTS", "whole number", "'many'"),
        (header(POINTS="4") + BODY, "POINTS", "WIDTH times HEIGHT, 3", "4"),
        (header(POINTS=None, WIDTH=None) + BODY, "POINTS", "number of points", "none"),
        (header(WIDTH="4") + BODY, "POINTS", "64 bytes of data for 4 points of 16 bytes", "48 bytes"),
        (header(WIDTH="9000000") + BODY, "POINTS", "144000000 bytes", "48 bytes"),
        (header(WIDTH="999999999", HEIGHT="999999999") + BODY, "POINTS", "at most", "999999998000000001"),
        (header(DATA="binary_zip") + BODY, "DATA", "ascii, binary or binary_compressed", "'binary_zip'"),
        (header(DATA="") + BODY, "DATA", "ascii, binary or binary_compressed", "''"),
        (header(DATA="binary_compressed") + b"\0\0", "compressed data", "two sizes", "2 bytes"),
        (compressed(5, 4096, b"\x04abcd"), "uncompressed size", "48 bytes for 3 points", "4096"),
        (compressed(500, 48, b"\x04abcd"), "compressed size", "at most the 5 bytes", "500"),
        (compressed(5, 160_000_000 - 16, b"\x04abcd", WIDTH="9999999"), "uncompressed size", "440 bytes out of 5", "159999984"),
        (compressed(3, 48, b"\x00a\x05"), "compressed data", "LZF", "are not"),
        (compressed(2, 48, b"\x00a"), "compressed data", "48 bytes once decompressed", "1"),
        (compressed(66, 48, (b"\x1f" + b"a" * 32) * 2), "compressed data", "48 bytes once decompressed", "more"),
        (header(DATA="ascii") + b"1 2 3 4\n", "POINTS", "3 lines", "1"),
        (header(DATA="ascii"), "POINTS", "3 lines", "0"),
        (header(DATA="ascii") + b"1 2 3 4\n1 2 3\n1 2 3 4\n", "point 1", "4 values", "3: b'1 2 3'"),
        (header(DATA="ascii") + b"1 2 3 4\n1 2 3 4\n1 2 house 4\n", "point 2", "numbers", "house"),
        (header(DATA="ascii") + b"1 2 3 4\n\xff\xfe 2 3 4\n1 2 3 4\n", "point 1", "numbers", "xff"),
        (header(DATA="ascii") + b"1 2 3 4\n\n1 2 3 4\n1 2 3 4\n", "point 1", "4 values", "0"),
    ],
)
def test_bad_files_get_one_clear_line(data: bytes, where: str, expected: str, found: str) -> None:
    with pytest.raises(InputError) as error:
        parse_pcd(data, "sweep.pcd")
    assert error.value.where.startswith("sweep.pcd")
    assert where in error.value.where
    assert expected in error.value.expected
    assert found in error.value.found
    assert "\n" not in str(error.value)


@given(data=st.data(), encoding=st.sampled_from(ENCODINGS))
def test_damaged_files_are_read_or_refused_never_worse(data: st.DataObject, encoding: PcdEncoding) -> None:
    whole = bytearray(format_pcd(Sweep(POINTS, INTENSITY), encoding))
    for position in data.draw(st.lists(st.integers(0, len(whole) - 1), min_size=1, max_size=6)):
        whole[position] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(whole)))
    try:
        sweep = parse_pcd(bytes(whole[:cut]), "sweep.pcd")
    except InputError:
        return
    assert sweep.points_m.shape == (len(sweep), 3)
