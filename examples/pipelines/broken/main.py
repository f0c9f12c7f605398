"""Fails two calls deep, so that there is a traceback to look at."""

PRICES = {"apple": 1.2, "pear": 0.9}


def price_of(article: str) -> float:
    return PRICES[article]


def total(basket: list[str]) -> float:
    return sum(price_of(article) for article in basket)


print("adding up the basket")
print(total(["apple", "pear", "quince"]))
