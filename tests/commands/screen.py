"""What a terminal shows: a screen driven by what a program writes, and a program run in a terminal of its own."""

import codecs
import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

_CONTROL = re.compile(r"\x1b\[(?P<arguments>[?\d;]*)(?P<command>[A-Za-z])")
TIME_LIMIT_S = 120.0


class Screen:
    """A terminal of `columns`, as high as is written. `frames` are the screens between writes that belong together."""

    def __init__(self, columns: int) -> None:
        self.columns = columns
        self.cursor_is_hidden = False
        self.lines: list[str] = [""]
        self.frames: list[list[str]] = []
        self._row = self._column = 0
        self._rest = ""

    def feed(self, text: str) -> None:
        text, self._rest, place = self._rest + text, "", 0
        for control in _CONTROL.finditer(text):
            self._write(text[place : control.start()])
            self._obey(control["command"], control["arguments"])
            place = control.end()
        begun = text.find("\x1b", place)  # a control of which the end is still to come
        end = len(text) if begun < 0 else begun
        self._write(text[place:end])
        self._rest = text[end:]

    def _write(self, text: str) -> None:
        for character in text:
            if character == "\r":
                self._column = 0
            elif character == "\n" or self._column == self.columns:
                self._row, self._column = self._row + 1, 0
                self.lines += [""] * (self._row + 1 - len(self.lines))
            if character not in "\r\n":
                line = self.lines[self._row].ljust(self._column)
                self.lines[self._row] = line[: self._column] + character + line[self._column + 1 :]
                self._column += 1

    def _obey(self, command: str, arguments: str) -> None:
        match command, arguments:
            case "A", count:
                self._row -= int(count or 1)
            case "K", "2":
                self.lines[self._row] = ""
            case (("h" | "l"), "?25"):
                self.cursor_is_hidden = command == "l"
            case "h", "?2026":
                pass
            case "l", "?2026":
                self.frames.append([line.rstrip() for line in self.lines])
            case "m", _:
                pass
            case _:
                raise AssertionError(f"a control that no terminal needs here: {arguments}{command}")


@dataclass(frozen=True)
class Ended:
    status: int
    screen: Screen
    written: str


def run_in_terminal(
    command: Sequence[str],
    environment: Mapping[str, str],
    size: tuple[int, int],
    interrupt_at: Callable[[Screen], bool] = lambda screen: False,
) -> Ended:
    """Run the command in a terminal of `size` lines and columns; Ctrl-C is pressed once `interrupt_at` holds."""
    pid, terminal = pty.fork()
    if pid == 0:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a background shell leaves it ignored
        fcntl.ioctl(pty.STDIN_FILENO, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
        os.execvpe(command[0], list(command), dict(environment))
    screen, decoder, written, pressed = Screen(size[1]), codecs.getincrementaldecoder("utf-8")(), [], False
    deadline = time.monotonic() + TIME_LIMIT_S
    while time.monotonic() < deadline and select.select([terminal], [], [], TIME_LIMIT_S)[0]:
        try:
            text = decoder.decode(os.read(terminal, 1 << 16))
        except OSError:  # the program has ended
            break
        screen.feed(text)
        written.append(text)
        if not pressed and interrupt_at(screen):
            os.write(terminal, b"\x03")
            pressed = True
    os.close(terminal)
    return Ended(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), screen, "".join(written))
