"""The first example: runs a pipeline, and prints what it prints."""

import fastflow

with fastflow.open("./pipelines") as flow:          # SQLite and local processes by default
    run = flow.run("hello", parameters={"who": "world"})
    for line in run.logs():                          # live, resumable
        print(line.text)
    print(run.wait().status)
