"""The first example, for asyncio: the same names."""

import asyncio

import fastflow


async def main() -> None:
    async with fastflow.open("./pipelines") as flow:
        run = await flow.run("hello", parameters={"who": "world"})
        async for line in run.logs():
            print(line.text)
        print((await run.wait()).status)


asyncio.run(main())
