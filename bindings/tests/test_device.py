"""The bindings from Python, against a real relay: the generated module is found by PYTHONPATH."""

import asyncio
import pathlib
import subprocess
import sys
import unittest

import manzana
from city import AGENCY, City
from manzana import CaptureForm, Category, Code, Connection, Custody, Device, EventKind, Rule, Status, Step

# Only a broken build waits this long.
DEADLINE_S = 60


class ACaptainsPhone(unittest.IsolatedAsyncioTestCase):
    def setUp(self):
        self.city = City()
        self.addCleanup(self.city.close)
        self.city.catalog()
        self.city.user("jefa", "block_captain")
        self.city.user("operadora", "operator")
        self.home = str(self.city.folder / "phone")

    async def enrolled(self):
        device = await Device.open(self.home)
        await device.enrol(self.city.invite("jefa", "--scope", "block:1101", "--block", "1101"))
        return device

    def capture_and_be_killed(self):
        """Captures in another process, which is killed with -9 after the call has returned."""
        phone = subprocess.Popen(
            [sys.executable, str(pathlib.Path(__file__).with_name("capturing_phone.py")), self.home],
            stdout=subprocess.PIPE,
            text=True,
        )
        petition = phone.stdout.readline().strip()
        phone.kill()
        phone.wait()
        phone.stdout.close()
        return petition

    async def until(self, device, watch, reached):
        """Reads the watch until what the device holds is as wanted."""
        async with asyncio.timeout(DEADLINE_S):
            while not (found := await reached(device)):
                await watch.next()
            return found

    async def test_a_capture_outlives_kill_9_and_an_operators_change_arrives_through_a_watch(self):
        await (await self.enrolled()).shut_down()
        self.city.kill()
        petition = self.capture_and_be_killed()

        device = await Device.open(self.home)
        kept = await device.petition(petition)
        self.assertEqual((kept.title, kept.custody, kept.folio), ("LAMPARA FUNDIDA", Custody.ON_THIS_PHONE, None))
        self.assertEqual((await device.status()).unsent, 1)

        watch = device.watch()
        await device.start_sync()
        self.city.start()
        device.notify_network()

        async def received(device):
            row = await device.petition(petition)
            return row if row.custody == Custody.RECEIVED else None

        row = await self.until(device, watch, received)
        self.assertTrue(row.folio.startswith("SIAC-"))
        status = await device.status()
        self.assertEqual((status.unsent, status.connection), (0, Connection.ONLINE))

        self.city.sign_in("operadora").refer(row.folio, AGENCY["id"])

        async def referred(device):
            detail = await device.detail(petition)
            return detail if detail.petition.status == Status.REFERRED else None

        detail = await self.until(device, watch, referred)
        self.assertEqual([step.kind for step in detail.history], [EventKind.RECORDED, EventKind.REFERRED])
        self.assertEqual(detail.history[1].agency.name, AGENCY["name"])
        self.assertEqual((detail.history[0].mine, detail.history[1].mine), (True, False))
        await device.shut_down()

    async def test_catalogs_arrive_with_the_services_of_each_agency(self):
        device = await self.enrolled()
        watch = device.watch()
        await device.start_sync()

        async def published(device):
            catalogs = {catalog.name: catalog.items for catalog in await device.catalogs()}
            return catalogs if {"agencies", "services"} <= catalogs.keys() else None

        catalogs = await self.until(device, watch, published)
        self.assertEqual(catalogs["agencies"][0].name, AGENCY["name"])
        self.assertEqual(catalogs["services"][0].parent, AGENCY["id"])
        await device.shut_down()

    async def failed(self, category, code, call):
        with self.assertRaises(manzana.ManzanaError.Failed) as caught:
            await call
        problem = caught.exception.problem
        self.assertEqual((problem.category, problem.code), (category, code))
        return problem

    async def test_errors_are_types_with_a_category(self):
        device = await self.enrolled()
        petition = (await device.capture(CaptureForm(title="Bache", description="Hondo"))).petitions[0]

        denied = await self.failed(
            Category.REJECTED, Code.DENIED, device.act([petition], Step(kind=EventKind.DONE))
        )
        self.assertEqual((denied.rule, denied.field), (Rule.ROLE_MAY_NOT, "done"))
        empty = await self.failed(
            Category.REJECTED, Code.DENIED, device.capture(CaptureForm(title="", description="Hondo"))
        )
        self.assertEqual((empty.rule, empty.field), (Rule.BAD_VALUE, "title"))
        self.assertEqual(len(await device.list()), 1, "nothing of a denied act is kept")

        await self.failed(Category.REJECTED, Code.NOT_FOUND, device.detail("nothing"))
        await self.failed(Category.CONFLICT, Code.IN_USE, Device.open(self.home))
        await device.shut_down()
        await self.failed(Category.CANCELLED, Code.CANCELLED, device.list())

        other = await Device.open(str(self.city.folder / "other"))
        await self.failed(Category.UNAUTHORISED, Code.NOT_ENROLLED, other.list())
        await self.failed(Category.REJECTED, Code.BAD_INVITATION, other.enrol("manzana:1:x"))
        invitation = self.city.invite("jefa", "--scope", "block:1101")
        self.city.kill()
        await self.failed(Category.OFFLINE, Code.OFFLINE, other.enrol(invitation))
        await other.shut_down()


if __name__ == "__main__":
    unittest.main()
