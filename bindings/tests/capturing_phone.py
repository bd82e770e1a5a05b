"""A phone that captures and is then killed: the process under the test's kill -9.

Prints the petition's id once the call has returned, and waits for its end.
"""

import asyncio
import sys

from manzana import CaptureForm, Device


async def capture(folder):
    device = await Device.open(folder)
    await device.start_sync()
    saved = await device.capture(CaptureForm(title="LAMPARA FUNDIDA", description="Frente al kínder"))
    print(saved.petitions[0], flush=True)
    await asyncio.Event().wait()


asyncio.run(capture(sys.argv[1]))
