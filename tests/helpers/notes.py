"""Notes on patients, made up: each patient has some notes of one triage class, in words of their own.

``python tests/helpers/notes.py COUNT > groups.csv`` writes those of as many patients; tests/data/groups.csv holds 80.
"""

import csv
import random
import sys

WORST = ("chest", "breath", "faint", "bleeding", "seizure", "numb", "swollen", "fever")
MILD = ("itch", "cough", "blister", "earache", "cramp", "rash", "bruise", "sneeze")
PLACES = ("left arm", "right knee", "lower back", "neck", "jaw", "stomach", "left foot", "shoulder")
HABITS = ("gardening", "swimming", "night shifts", "long drives", "running", "knitting", "climbing", "baking")
FORMS = (
    "{symptom} since {day}, worse after {habit}, patient points at the {place}",
    "seen on {day}: {symptom} near the {place}, asks whether {habit} is allowed",
    "{place} examined, {symptom} reported again, no {habit} this week",
    "called on {day} about {symptom}; the {place} feels odd when {habit} is over",
    "follow-up of {symptom}, {place} unchanged, {habit} paused until {day}",
)
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def notes(num_patients, *, seed=0):
    """Yield (patient, text, triage)."""
    draw = random.Random(seed)
    for number in range(num_patients):
        triage = ("routine", "urgent")[number % 2]
        habit, place = draw.choice(HABITS), draw.choice(PLACES)
        for _ in range(draw.randint(2, 7)):
            symptoms = WORST if (triage == "urgent") != (draw.random() < 0.15) else MILD
            text = draw.choice(FORMS).format(
                symptom=" and ".join(draw.sample(symptoms, 2)),
                day=draw.choice(DAYS),
                habit=habit,
                place=place,
            )
            yield f"P{number:03}", text, triage


if __name__ == "__main__":
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["patient_id", "text", "triage"])
    writer.writerows(notes(int(sys.argv[1])))
