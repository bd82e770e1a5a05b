"""A city for the tests: a real relay process in a folder of its own, and its operator's browser.

MANZANA_BIN names the program. Nothing here sleeps: a log line or an answer is waited for.
"""

import http.client
import json
import os
import pathlib
import subprocess
import tempfile
import threading

PASSWORD = "una clave larga"
AGENCY = {"id": 1, "name": "Dirección de Alumbrado Público"}
CATALOG = {
    "agencies": [AGENCY],
    "services": [{"id": 7, "name": "Lámpara fundida", "agency": 1}],
    "neighborhoods": [{"id": 1, "name": "Benito Juárez Norte"}],
}


class City:
    """A relay that can be killed and started again on the same ports."""

    def __init__(self):
        self._folder = tempfile.TemporaryDirectory(prefix="manzana-bindings-")
        self.folder = pathlib.Path(self._folder.name)
        self._devices = self._console = "127.0.0.1:0"
        self._relay = self._log = None
        self.start()

    def start(self):
        self._relay = subprocess.Popen(
            [_binary(), "serve"],
            env=self._environment(
                MANZANA_LOG__FORMAT="json",
                MANZANA_SYNC_LISTEN=self._devices,
                MANZANA_CONSOLE_LISTEN=self._console,
            ),
            stderr=subprocess.PIPE,
            text=True,
        )
        said = []
        for line in self._relay.stderr:
            said.append(line)
            record = json.loads(line)
            if record.get("message") == "serving":
                self._devices, self._console = record["devices"], record["console"]
                # The rest is read, or the relay would stop at a full pipe.
                self._log = threading.Thread(target=self._relay.stderr.read)
                self._log.start()
                return
        raise AssertionError("the relay does not start:\n" + "".join(said))

    def kill(self):
        self._relay.kill()
        self._relay.wait()
        self._log.join()
        self._relay.stderr.close()

    def close(self):
        if self._relay.poll() is None:
            self.kill()
        self._folder.cleanup()

    def user(self, name, role):
        self._run("user", "add", name, "--role", role, "--display", name, "--password-stdin", stdin=PASSWORD)

    def catalog(self):
        file = self.folder / "catalog.json"
        file.write_text(json.dumps(CATALOG))
        self._run("catalog", str(file))

    def invite(self, user, *scope):
        return self._run("invite", "--user", user, "--relay", f"https://{self._devices}", *scope).strip()

    def sign_in(self, user):
        return Operator(self._console, user)

    def _run(self, *arguments, stdin=None):
        done = subprocess.run(
            [_binary(), *arguments],
            env=self._environment(),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
        )
        if done.returncode != 0:
            raise AssertionError(f"manzana {arguments[0]}: {done.stderr}")
        return done.stdout

    def _environment(self, **settings):
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("MANZANA_")}
        return inherited | {"MANZANA_DATA_DIR": str(self.folder / "data")} | settings


class Operator:
    """An operator's browser, reduced to its requests."""

    def __init__(self, address, user):
        self._address = address
        self._headers = {"Content-Type": "application/json", "Origin": f"http://{address}"}
        answer, headers = self._ask("POST", "/api/session", {"user": user, "password": PASSWORD})
        self._headers["Cookie"] = headers["Set-Cookie"].split(";")[0]
        self._headers["X-Manzana-Csrf"] = answer["csrf"]

    def refer(self, folio, agency):
        """Refers a petition as the page that shows it now would."""
        found, _ = self._ask("GET", f"/api/petitions?q={folio}")
        petition = found["rows"][0]["id"]
        page, _ = self._ask("GET", f"/api/petitions/{petition}")
        act = {"act": "refer", "agency": agency, "heads": page["heads"], "key": f"refer-{petition}"}
        self._ask("POST", f"/api/petitions/{petition}/acts", act)

    def _ask(self, method, path, body=None):
        connection = http.client.HTTPConnection(self._address, timeout=30)
        try:
            connection.request(method, path, body and json.dumps(body), self._headers)
            answer = connection.getresponse()
            text = answer.read()
            if answer.status != 200:
                raise AssertionError(f"{method} {path}: {answer.status} {text!r}")
            return json.loads(text), answer.headers
        finally:
            connection.close()


def _binary():
    return os.environ["MANZANA_BIN"]
