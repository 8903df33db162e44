"""Drives `podledger sql` on a terminal of its own; ends with an exception, or by an alarm, where the shell does not do as it should."""

import fcntl
import os
import pathlib
import pty
import re
import select
import signal
import struct
import sys
import termios

PROGRAM, DATA, FOLDER = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3])
PAGED = FOLDER / "paged"
PATIENCE_SECONDS = 60
LIMIT_SECONDS = 240
CONTROL_C, CONTROL_D, UP = b"\x03", b"\x04", b"\x1b[A"

# What hangs is ended, and the shell with its terminal.
signal.alarm(LIMIT_SECONDS)


class Shell:
    def __init__(self):
        self.process, self.terminal = pty.fork()
        if self.process == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
            environment = {"TERM": "xterm", "PATH": os.environ["PATH"], "XDG_STATE_HOME": str(FOLDER), "PAGER": f"tee {PAGED}"}
            os.execve(PROGRAM, [PROGRAM, "--data", DATA, "sql"], environment)
        self.seen = ""
        self.expect("podledger> ")

    def read(self, seconds):
        """What it shows within some time, without the signs that move its cursor."""
        if not select.select([self.terminal], [], [], seconds)[0]:
            return False
        try:
            shown = os.read(self.terminal, 65536)
        except OSError:
            return False
        self.seen = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.seen + shown.decode(errors="replace"))
        return True

    def expect(self, text):
        while text not in self.seen:
            assert self.read(PATIENCE_SECONDS), f"there is no {text!r} in {self.seen!r}"
        self.seen = self.seen.split(text, 1)[1]

    def type(self, keys, *shown):
        os.write(self.terminal, keys)
        for text in shown:
            self.expect(text)

    def runs(self):
        """Waits until nothing is typed any more: the terminal makes signals of keys again."""
        while not termios.tcgetattr(self.terminal)[3] & termios.ISIG:
            self.read(0.01)

    def ends(self):
        while self.read(PATIENCE_SECONDS):
            pass
        _, status = os.waitpid(self.process, 0)
        assert os.waitstatus_to_exitcode(status) == 0, status


shell = Shell()
# A mart's name is completed.
shell.type(b"select count(*) + 40 as n from machine_pri\t;\r", "machine_prices", "| 41", "1 row", "podledger> ")
# A question has as many lines as it likes, and a line as many questions.
shell.type(b"select 40\r", "\n")
shell.type(b"+ 2 as answer;\r", "| 42", "1 row", "podledger> ")
shell.type(b"select 'a;' || 'b' as x; select 'c' || 'd' as y;\r", "| a;b", "| cd", "podledger> ")
shell.type(b"delete from pods;\r", "error: ", "only SELECT is allowed", "podledger> ")
assert not PAGED.exists(), "short answers are shown as they are"
shell.type(b"select 'row ' || i as i from range(100) as t(i);\r", "100 rows", "podledger> ")
assert "| row 99" in PAGED.read_text()
shell.type(b"\\rows 3\r", "podledger> ")
shell.type(b"select 'row ' || i as i from range(100) as t(i);\r", "3 rows; more with \\rows", "podledger> ")
shell.type(b"\\d pods\r", "podledger> ")
assert "| pod_uid" in PAGED.read_text(), PAGED.read_text()
shell.type(b"\\format csv\r", "podledger> ")
shell.type(b"select 'so' || 'so' as how;\r", "\nhow\r\nsoso\r\n", "podledger> ")
shell.type(b"\\nothing\r", "there is no command `\\nothing`", "podledger> ")
# Ctrl-C ends what is typed or runs, and not the shell.
shell.type(b"select nonsense" + CONTROL_C, "podledger> ")
shell.type(b"select count(*) from range(10000000) as a(i), range(10000000) as b(j) where a.i + b.j = 7;\r")
shell.runs()
shell.type(CONTROL_C, "error: interrupted", "podledger> ")
shell.type(b"select 'still' || ' there' as x;\r", "\nstill there\r\n", "podledger> ")
shell.type(CONTROL_D)
shell.ends()

# What was typed is remembered.
shell = Shell()
shell.type(UP + b"\r", "| still there", "podledger> ")
shell.type(b"\\q\r")
shell.ends()
