"""Whose skins come with the package.

A set's split is the hash of its id. The letters are chosen such that val and test get three sets each, of light and of
dark skin, young and old, and train the others: ten tones, each at two ages.
"""

from aih_builder.sources.skin import Person

SIZE_PX = 512
SEED = 0
SHIPPED = {
    "monk01-a": Person(tone=1, number=1, age=24, hair=15),
    "monk01-b": Person(tone=1, number=2, age=66, hair=35),
    "monk02-a": Person(tone=2, number=1, age=45, hair=70),
    "monk02-n": Person(tone=2, number=14, age=21, hair=5),  # val
    "monk03-a": Person(tone=3, number=1, age=31, hair=45),
    "monk03-l": Person(tone=3, number=12, age=68, hair=40),  # test
    "monk04-a": Person(tone=4, number=1, age=58, hair=25),  # val
    "monk04-b": Person(tone=4, number=2, age=27, hair=10),
    "monk05-a": Person(tone=5, number=1, age=38, hair=80),
    "monk05-b": Person(tone=5, number=2, age=74, hair=30),
    "monk06-a": Person(tone=6, number=1, age=22, hair=0),
    "monk06-c": Person(tone=6, number=3, age=47, hair=60),  # test
    "monk07-a": Person(tone=7, number=1, age=29, hair=50),
    "monk07-b": Person(tone=7, number=2, age=65, hair=10),
    "monk08-a": Person(tone=8, number=1, age=70, hair=45),
    "monk08-g": Person(tone=8, number=7, age=25, hair=20),  # val
    "monk09-b": Person(tone=9, number=2, age=52, hair=30),
    "monk09-c": Person(tone=9, number=3, age=23, hair=0),  # test
    "monk10-a": Person(tone=10, number=1, age=33, hair=35),
    "monk10-b": Person(tone=10, number=2, age=72, hair=15),
}
