"""Messages to a shop's support, made up: three classes that share most of their words.

``python tests/helpers/messages.py COUNT > messages.csv`` writes as many; tests/data/messages.csv holds the first 400.
"""

import csv
import random
import sys

ITEMS = (
    *(
        "kettle",
        "desk lamp",
        "rain jacket",
        "bookshelf",
        "phone case",
        "coffee grinder",
        "yoga mat",
        "backpack",
    ),
    *(
        "office chair",
        "speaker",
        "garden hose",
        "speaker",
        "bread knife",
        "keyboard",
        "sleeping bag",
        "wall clock",
    ),
    *("sun hat", "blender", "bicycle pump", "pillow", "toaster", "camera strap", "frying pan", "doormat"),
)
PLACES = ("Leeds", "Cork", "Dundee", "Bristol", "Galway", "Norwich", "Swansea", "Derby", "Exeter", "Limerick")
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October")

ISSUES = {
    "billing": (
        "I was charged {amount} twice for the {item}",
        "the invoice for my {item} shows {amount} although the shop said {other}",
        "the refund of {amount} for the {item} has not reached my account since {month}",
        "my card was debited {amount} and I never ordered a {item}",
        "the discount code was not taken off the price of the {item}",
        "you still send me reminders for the {item} that I paid in {month}",
        "the tax on the invoice for the {item} is wrong by {amount}",
        "please send me a receipt for the {item}, my employer pays the {amount}",
        "I cancelled the {item} on {day} but the money was taken all the same",
        "my bank says that the payment of {amount} for the {item} is still pending",
        "why do I pay {amount} for the {item} when it costs {other} on your page today",
        "I want to pay for the {item} by instalments and the form refuses my card",
    ),
    "delivery": (
        "the {item} was promised for {day} and nobody has come",
        "tracking says that my {item} has been in {place} for {count} days",
        "the driver left my {item} with a neighbour whom I do not know",
        "I moved to {place} and the {item} is on its way to my old address",
        "where is my {item}, it left your store in {month}",
        "the courier rang once, took the {item} away again and wrote that I was out",
        "can the {item} come on {day} after six, I work during the day",
        "the parcel with the {item} was open and soaked when I found it at the gate",
        "half of my order is here, the {item} is not, and nobody knows where it went",
        "it says handed over, but there is no {item} at my door in {place}",
        "please hold back the {item} until {day}, we are away",
        "the pick-up point in {place} is closed and my {item} is inside",
    ),
    "product": (
        "the {item} stopped working after {count} days",
        "the {item} has a crack along its side and smells of glue",
        "a screw is missing, so I cannot put the {item} together",
        "the {item} is smaller than the picture on your page",
        "the colour of the {item} came off in the first wash",
        "how do I clean the {item} without spoiling it",
        "the manual of the {item} is in a language that I cannot read",
        "the handle of the {item} broke when I used it on {day}",
        "does the {item} fit the model that you sold me in {month}",
        "the {item} makes a loud noise and gets hot within {count} minutes",
        "the {item} is fine, but it is not the size I picked",
        "is there a spare part for the {item}, mine wore out in {month}",
    ),
}
ASIDES = (
    "The invoice was right this time.",
    "Paying was easy, at least.",
    "The parcel itself came early.",
    "The courier was friendly, by the way.",
    "I like the {other_item} I bought from you in {month}.",
    "The {other_item} in the same order works well.",
    "I paid {amount} and it came on {day}, all of that was fine.",
    "I have written to you on {day} already.",
    "My last order, a {other_item}, went to {place} without trouble.",
    "This is the second time since {month}.",
    "A friend in {place} has the same trouble with a {other_item}.",
    "The order number is {number}.",
)
REQUESTS = (
    "What can you do?",
    "Please look into it.",
    "Can somebody call me on {day}?",
    "I would like an answer before {day}.",
    "Please put this right.",
    "Tell me what you need from me.",
    "I do not want to wait until {month}.",
    "If not, I will go to another shop.",
)
GREETINGS = ("Hello,", "Hi there,", "Good morning,", "Dear team,", "Hey,", "To whom it may concern:")
ENDINGS = ("Thanks", "Thank you!", "Regards, {name}", "Best wishes from {place}", "{name}")
NAMES = ("Ines", "Tom", "Priya", "Oskar", "Mei", "Jonas", "Amal", "Ruth", "Liam", "Sofia", "Kofi", "Vera")

SETTLED = (
    "Last time {issue}, but that was settled.",
    "In {month} {issue}; you put that right.",
    "It is not that {issue}, as on {day}.",
    "I do not complain that {issue} again.",
    "Your colleague asked whether {issue}: no.",
)
"""What the message is not about, in words of another class."""

MISLABELLED = 0.04
MISTYPED = 0.3


def make_messages(count, *, seed=11):
    """Return (message, class) pairs, 45 % billing, 35 % delivery, 20 % product; a few in the wrong class."""
    draw = random.Random(seed)
    rows = []
    for _ in range(count):
        topic = draw.choices(tuple(ISSUES), weights=(45, 35, 20))[0]
        message = _message(draw, topic)
        if draw.random() < MISLABELLED:
            topic = draw.choice([other for other in ISSUES if other != topic])
        rows.append((message, topic))
    return rows


def _message(draw, topic):
    issue = draw.choice(ISSUES[topic])
    parts = [issue[0].upper() + issue[1:] + draw.choice((".", ".", "!", ""))]
    asides = draw.sample(ASIDES, draw.choice((0, 0, 1, 1, 2)))
    if draw.random() < 0.4:
        other = draw.choice([other for other in ISSUES if other != topic])
        asides.append(draw.choice(SETTLED).replace("{issue}", draw.choice(ISSUES[other])))
    draw.shuffle(asides)
    before = draw.randint(0, len(asides))
    parts = [*asides[:before], *parts, *asides[before:]]
    for choices, chance in ((REQUESTS, 0.7), (ENDINGS, 0.5)):
        parts += [draw.choice(choices)] if draw.random() < chance else []
    if draw.random() < 0.5:
        parts = [draw.choice(GREETINGS), *parts]
    item, other_item = draw.sample(ITEMS, 2)
    text = " ".join(parts).format(
        item=item,
        other_item=other_item,
        amount=f"{draw.randint(4, 180)}.{draw.choice(('00', '50', '90', '95'))}",
        other=f"{draw.randint(4, 180)}.{draw.choice(('00', '50', '90'))}",
        day=draw.choice(DAYS),
        month=draw.choice(MONTHS),
        place=draw.choice(PLACES),
        count=draw.choice(("two", "three", "five", "nine", "twelve")),
        number=draw.randint(10000, 99999),
        name=draw.choice(NAMES),
    )
    return _mistype(draw, text) if draw.random() < MISTYPED else text


def _mistype(draw, text):
    """Exchange two neighbouring letters, or leave one out."""
    place = draw.randint(1, len(text) - 3)
    exchanged = text[place + 1] + text[place] if draw.random() < 0.5 else text[place + 1]
    return text[:place] + exchanged + text[place + 2 :]


if __name__ == "__main__":
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(("message", "team"))
    writer.writerows(make_messages(int(sys.argv[1])))
