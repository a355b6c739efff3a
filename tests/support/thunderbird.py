"""Thunderbird without a screen, driven over Marionette, the protocol of Mozilla's own tests.

One Thunderbird serves many fetches, each with an account of its own: starting it takes longer than
a fetch does. Account and password go in through its own interfaces, so that its password store,
its trust in authorities and its POP3 client are the ones that its users have.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from tests.support.clients import SECONDS, Account, Fetched
from tests.support.programs import find
from tests.support.waiting import PATIENCE, until

_PREFERENCES = {
    "marionette.port": 0,
    "app.update.enabled": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "extensions.update.enabled": False,
    "mail.provider.suppress_dialog_on_startup": True,
    "mail.serverDefaultStoreContractID": "@mozilla.org/msgstore/maildirstore;1",
    "mail.shell.checkDefaultClient": False,
    "mailnews.pop3.loglevel": "All",
    "devtools.console.stdout.chrome": True,
    "mailnews.start_page.enabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "toolkit.telemetry.enabled": False,
}
"""Set before the start; most of them keep it from asking Mozilla's servers for anything."""

_SOCKET_TYPES = {"plain": 0, "stls": 2, "tls": 3}

_FETCH = """
const [authority, host, port, socketType, user, password] = arguments;
const done = arguments[arguments.length - 1];

async function fetchAll() {
  const { MailServices } = ChromeUtils.importESModule(
    "resource:///modules/MailServices.sys.mjs"
  );
  const certificates = Cc["@mozilla.org/security/x509certdb;1"].getService(Ci.nsIX509CertDB);
  const trusted = authority && certificates.addCertFromBase64(authority, "C,,");

  const server = MailServices.accounts.createIncomingServer(user, host, "pop3");
  server.QueryInterface(Ci.nsIPop3IncomingServer);
  server.port = port;
  server.socketType = socketType;
  server.authMethod = Ci.nsMsgAuthMethod.passwordCleartext;
  server.leaveMessagesOnServer = true;
  MailServices.accounts.createAccount().incomingServer = server;

  const login = Cc["@mozilla.org/login-manager/loginInfo;1"].createInstance(Ci.nsILoginInfo);
  const origin = `mailbox://${host}`;
  login.init(origin, null, origin, user, password, "", "");
  await Services.logins.addLoginAsync(login);

  const inbox = server.rootFolder.getFolderWithFlags(Ci.nsMsgFolderFlags.Inbox);
  const status = await new Promise(ended => {
    const listener = {
      QueryInterface: ChromeUtils.generateQI(["nsIUrlListener"]),
      OnStartRunningUrl() {},
      OnStopRunningUrl(url, code) { ended(code); },
    };
    MailServices.pop3.GetNewMail(null, listener, inbox, server);
  });
  if (trusted) {
    certificates.deleteCertificate(trusted);
  }
  return { status: status >>> 0, folder: inbox.filePath.path };
}

fetchAll().then(done, error => done({ error: `${error}\\n${error.stack}` }));
"""


class Thunderbird:
    """A running Thunderbird."""

    def __init__(self) -> None:
        self._home = Path(tempfile.mkdtemp(prefix="popproxy-thunderbird-"))
        self._profile = self._home / "profile"
        self._profile.mkdir()
        (self._profile / "user.js").write_text(
            "".join(
                f"user_pref({json.dumps(name)}, {json.dumps(value)});\n"
                for name, value in _PREFERENCES.items()
            )
        )
        program = find("thunderbird")
        assert program, "the test needs a mark: needs('thunderbird')"
        with (self._home / "output").open("wb") as output:
            self._process = subprocess.Popen(
                [
                    *(program, "--headless", "--no-remote", "--profile", self._profile),
                    *("--marionette", "--remote-allow-system-access"),
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={"PATH": os.environ["PATH"], "HOME": str(self._home), "LC_ALL": "C.UTF-8"},
            )
        try:
            self._marionette = _Marionette(until(self._port, "Thunderbird's port"))
        except BaseException:
            self._end()
            raise

    def _port(self) -> int:
        assert self._process.poll() is None, f"Thunderbird ended at once:\n{self._output!r}"
        told = self._profile / "MarionetteActivePort"
        return int(told.read_text() or 0) if told.exists() else 0

    @property
    def _output(self) -> bytes:
        return (self._home / "output").read_bytes()

    @property
    def log(self) -> bytes:
        """What it printed, its own POP3 log among it."""
        return self._output

    def fetch(self, account: Account) -> Fetched:
        """Fetch with "Get Messages", and leave the messages on the server."""
        authority = "" if account.security == "plain" else account.ca_file.read_text()
        said_before = len(self._output)
        result = self._marionette.run(
            _FETCH,
            "".join(line for line in authority.splitlines() if not line.startswith("-----")),
            account.host,
            account.port,
            _SOCKET_TYPES[account.security],
            account.user,
            account.password,
        )
        assert "error" not in result, result["error"]
        assert result["status"] == 0, _explained(result["status"])
        stored = (Path(result["folder"]) / "cur").iterdir()
        return Fetched(
            messages=[path.read_bytes() for path in stored], output=self._output[said_before:]
        )

    def stop(self) -> None:
        """End it and take everything away."""
        self._marionette.quit()
        self._end()

    def _end(self) -> None:
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._home, ignore_errors=True)


def _explained(status: int) -> str:
    """Say what a status of Mozilla's is about."""
    security = 0x805A
    about = "TLS or a certificate" if status >> 16 == security else "nothing about TLS"
    return f"Thunderbird failed with {status:#x}, {about}"


class _Marionette:
    """A connection to Marionette: JSON messages, each behind its length and a colon."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=SECONDS)
        self._reader = self._socket.makefile("rb")
        self._commands = 0
        self._receive()
        self._do("WebDriver:NewSession", strictFileInteractability=False)
        self._do("Marionette:SetContext", value="chrome")
        self._do("WebDriver:SetTimeouts", script=round(SECONDS * 1000))

    def _receive(self) -> Any:
        length = b""
        while (digit := self._reader.read(1)) != b":":
            assert digit, "Thunderbird closed its connection"
            length += digit
        return json.loads(self._reader.read(int(length)))

    def _do(self, command: str, **parameters: Any) -> Any:
        self._commands += 1
        message = json.dumps([0, self._commands, command, parameters])
        self._socket.sendall(f"{len(message)}:{message}".encode())
        _, _, error, result = self._receive()
        assert error is None, f"{command}: {error['message']}"
        return result

    def run(self, script: str, *arguments: str | int) -> dict[str, Any]:
        """Run a script with all of Thunderbird's rights and give what it hands to its callback."""
        result = self._do(
            "WebDriver:ExecuteAsyncScript",
            script=script,
            args=list(arguments),
            sandbox="system",
        )
        value: dict[str, Any] = result["value"]
        return value

    def quit(self) -> None:
        """Ask Thunderbird to end."""
        self._do("Marionette:Quit", flags=["eForceQuit"])
        self._reader.close()
        self._socket.close()
