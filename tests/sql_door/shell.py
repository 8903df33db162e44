"""Types into `podledger sql` in a terminal and looks at what it shows."""

import os
import pty
import select
import sys
import time

program, data = sys.argv[1:]
state = os.path.join(data, "state")


class Shell:
    """The shell in a terminal of 80 by 24."""

    def __init__(self):
        self.process, self.terminal = pty.fork()
        if self.process == 0:
            environment = {"PATH": os.environ["PATH"], "TERM": "xterm", "XDG_STATE_HOME": state, "PAGER": "cat", "LC_ALL": "C.UTF-8"}
            os.execve(program, [program, "--data", data, "sql"], environment)
        self.shown = ""
        self.at = 0
        self.ready()

    def until(self, text):
        """Reads until the text is shown after what was waited for before; returns what is shown up to it."""
        deadline = time.monotonic() + 30
        while (end := self.shown.find(text, self.at)) < 0:
            ready, _, _ = select.select([self.terminal], [], [], max(0, deadline - time.monotonic()))
            assert ready, f"{text!r} is not shown, but {self.shown[self.at:]!r}"
            try:
                piece = os.read(self.terminal, 65536)
            except OSError:
                piece = b""
            assert piece, f"it ended before {text!r}: {self.shown[self.at:]!r}"
            self.shown += piece.decode(errors="replace")
        came = self.shown[self.at : end]
        self.at = end + len(text)
        return came

    def ready(self):
        """Waits for the prompt: what is typed before is lost."""
        self.until("podledger> ")
        self.until("\x1b[?2026l")

    def type(self, text):
        os.write(self.terminal, text.encode())

    def interrupt(self):
        """Interrupts what runs, as often as it takes: it may not have begun."""
        while "interrupted" not in self.shown[self.at :]:
            self.type("\x03")
            if select.select([self.terminal], [], [], 0.2)[0]:
                self.shown += os.read(self.terminal, 65536).decode(errors="replace")
        self.until("interrupted")

    def leave(self):
        self.type("\x04")
        _, status = os.waitpid(self.process, 0)
        assert os.waitstatus_to_exitcode(status) == 0, status


shell = Shell()
shell.type("select pod_uid from pods where pod_uid = 'p';\r")
shell.until("1 row")
shell.ready()
shell.type("select count(*) from findi\t")
shell.until("from findings")
shell.type(";\r")
shell.until("1 row")
shell.ready()
shell.type("select 1\r")
shell.type("  + 1 as two;\r")
shell.until("1 row")
shell.ready()
shell.type("\\d pods\r")
assert "pod_uid" in shell.until(" rows")
shell.ready()
shell.type("\\d\r")
assert "costs_daily" in shell.until(" rows")
shell.ready()
shell.type("select nothing from pods;\r")
shell.until("error:")
shell.ready()
shell.type("\\format csv\r")
# The end of the line that was typed, which has a prompt too.
shell.until("\x1b[?2004l")
shell.ready()
shell.type("select 1 as n;\r")
shell.until("n\r\n1\r\n")
shell.ready()
shell.type("\\nonsense\r")
shell.until("there is no command")
shell.ready()
# What takes too long can be stopped, and it goes on.
shell.type("select count(*) from range(10000000) as a(i), range(10000000) as b(j) where a.i + b.j = 7;\r")
shell.interrupt()
shell.ready()
shell.leave()

again = Shell()
# What was typed before is there.
again.type("\x1b[A")
again.until("b.j = 7")
again.type("\x03")
again.leave()
assert os.path.exists(os.path.join(state, "podledger", "sql_history"))
