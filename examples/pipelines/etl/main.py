"""Makes a year of orders, cleans them, sums them up by month, and writes Parquet and CSV beside this file."""

import random
from datetime import date, timedelta
from pathlib import Path

import polars as pl

ORDERS = 50_000
OUT = Path("out")


def extract() -> pl.DataFrame:
    """A year of orders, the same on each run, with some rows that are no good."""
    chance = random.Random(2026)
    first = date(2025, 1, 1)
    return pl.DataFrame(
        {
            "day": [first + timedelta(days=chance.randrange(365)) for _ in range(ORDERS)],
            "country": chance.choices(["DE", "FR", "PL", None], weights=[50, 30, 19, 1], k=ORDERS),
            "amount": [round(chance.lognormvariate(3, 1), 2) for _ in range(ORDERS)],
        }
    )


def transform(orders: pl.DataFrame) -> pl.DataFrame:
    return (
        orders.drop_nulls("country")
        .group_by(pl.col("day").dt.truncate("1mo").alias("month"), "country")
        .agg(pl.len().alias("orders"), pl.col("amount").sum().round(2).alias("revenue"))
        .sort("month", "country")
    )


def main() -> None:
    print(f"polars {pl.__version__}")
    orders = extract()
    print(f"extracted   {orders.height:>6} orders")
    months = transform(orders)
    print(f"transformed {months['orders'].sum():>6} orders into {months.height} rows")
    OUT.mkdir()
    orders.write_parquet(OUT / "orders.parquet")
    months.write_csv(OUT / "months.csv")
    for path in sorted(OUT.iterdir()):
        print(f"wrote {path}, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
