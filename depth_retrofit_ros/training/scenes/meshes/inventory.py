"""What belongs into which kind of room: names of the catalogues' models, as patterns."""

from __future__ import annotations

from dataclasses import dataclass

USUAL_AREA = 16.0  # m² of floor that the numbers of things below are for
SEATS = "(Chair|Oak chair|Osaka chair|Chair with cushion|Folding chair|Plastic chair|Cafe chair|Ryokan chair|Teck chair)"
TABLES = (
    "(Table|Round table|Oak table|Glass table|Wooden table|Wooden teak table|Wooden alder table|Folding table|Table on trestles)"
)
PLANTS = "(Plant|Ficus|Yucca|Indoor plant|Decorative plant|Bamboo|Spathiphyllum|Cactus|Palm tree)"
SMALL = {
    "table": (
        "(Vase|Plant|Little plant|Flowers|Tulips|Bowl.*|Teapot|Coffee.*|Cup.*|Glass|Plate.*|Candle|Book|"
        "Newspaper|Laptop|Apples|Wine bottle|Beer.*|Bread|Glasses|Orchids|Bonsai tree|White lily|Tablet|"
        "Camera|Reflex camera|Chessboard|Radio|Sushi tray|Birthday cake|Little lamp|Lamp)"
    ),
    "desk": (
        "(Laptop|Apple i.*|Desk lamp|Penbox|Pencil|Ruler|Scissors|Stapler|Phone|Book|Letter tray|Calendar|"
        "Keyboard|Screen|Coffee mug|Headphones|Table fan|Inkjet printer and scanner|Number lock|Tape|"
        "Mobile phone|Glasses|Text marker)"
    ),
    "shelf": (
        "(Vase|Book|Box|Old jar|Pottery|Camera|Clock|Teddy bear|Doll|Car model|Biplane|Radio|Speaker|"
        "Mini stereo|Little plant|Succulent plant|Cactus|Candle|Toy train|Rubik's cube|Hat|Cap|"
        "Folded clothes|Wine bottle|Globe|Spider plant|MP3 station|Video projector|Helmet|Wood toy)"
    ),
    "kitchen": (
        "(Coffee.*|Toaster|Microwave|Blender|Mixer|Bread.*|Kitchen.*|Knife stand|Spice tower|Utensils pot|"
        "Chopping board|Bowl.*|Oil servers|Paper towel holder|Milk|Butter|Teapot|Sandwich maker|Large pan|"
        "Wine bottle|Yogurt bottle|Old jar|Roasted chicken|Espresso kettle|Sugar|Squeezer|Electronic scale|"
        "Plate.*)"
    ),
    "bath": "(Bottle|Flacon|Soap|Sponge|Brush|Comb|Towel|Cosmetics pot|Medicine.*|Lip stick)",
    "seat": "(Teddy bear|Folded clothes|Book|Newspaper|Cap|Hat|Tablet|Handbag|Siamese cat|Cat|TV remote control|Backpack)",
}  # fmt: skip
FLOOR = (
    "(Backpack|Briefcase|Suitcase|Box|Cardboard box|Open cardboard box|Basketball|Soccer ball|Dustbin|"
    "Clothes basket|Sneakers|Slippers|Rocking horse|Trunck|Speaker|Electric guitar|Table fan|Cat|"
    "Siamese cat|Dog|Bulldog|Puff|Stool|Step ladder|Small step ladder|Clothes horse|Pedestal vase lamp|"
    "Crate|Umbrella|Vase|Broom|Wheelchair|Stroller|Skateboard|Tricycle|Clothes rack|Indoor bike|"
    "White board)"
)
ON_WALLS = (
    "(Clock|Cuckoo clock|Wall lamp artwork|Wall light|Wall flat TV|Thermometer|Dart game|Wall hanger|"
    "Wall spotlight|Upper shelves cabinet|Wall switch|Wall .*plug|Wall double.*|Rounded.*|Square.*|"
    "Air conditioning - Internal unit|Emergency sign|Towel rack|Smoke detector|Intercom.*|"
    "Electric water heater)"
)
CEILING = (
    "(Ceiling lamp|Pendant lamp|Hanging light|Chandelier lamp|Ceiling fan|Japanese lantern|"
    "Fluorescent light|Fluorescent strip|Track lights)"
)


@dataclass(frozen=True, slots=True)
class Group:
    """Things along the walls: pattern of their names, how many at least and at most, what is put on them."""

    pattern: str
    least: int
    most: int
    load: str = ""


KINDS: dict[str, tuple[Group, ...]] = {
    "living": (
        Group("(Sofa.*|Couch|Corner sofa|Clear sofa|Burlap sofa|Futon couch|Winchester sofa|Convertible sofa BZ)", 1, 2, "seat"),
        Group("(TV stand|Television cabinet|Fireplace|Upright piano|Aquarium)", 1, 2, "shelf"),
        Group("(Bookcase|Full bookcase|Shelves|Vertical shelves|Glass door cabinet|Dresser with drawers)", 1, 3, "shelf"),
        Group(PLANTS, 1, 2),
        Group("(.*[Aa]rmchair|Puff|Deck chair|Lamp|Pedestal vase lamp)", 1, 3),
    ),
    "dining": (
        Group("(Glass door cabinet|Dresser with drawers|Chest|Cupboard|Bookcase|Full bookcase)", 1, 3, "table"),
        Group(PLANTS, 1, 2),
        Group("(Chair|Bar stool|Lamp|Upright piano|Water cooler)", 1, 3),
    ),
    "bedroom": (
        Group("(Bed|Iron bed|Day bed|Captain's bed|Bunk bed|Mezzanine bed|Child bed|Futon|Baby bed|Crib)", 1, 2, "seat"),
        Group("(Bedside table|Stool|Chest|Dressing table|Changing table)", 1, 2, "desk"),
        Group("(Wardrobe|Cupboard|Shelves|Clothes rack|Bookcase|Dresser with drawers)", 1, 3, "shelf"),
        Group(f"({PLANTS}|Lamp|Clothes horse|Chair|Doll house|Armchair)", 1, 3),
    ),
    "office": (
        Group("(Desk|Desk table|Wooden desk|Technical table|Workbench)", 1, 3, "desk"),
        Group("(Bookcase|Full bookcase|Filing cabinet|Shelves|Vertical shelves|Safe|Locked locker)", 1, 3, "shelf"),
        Group(f"({PLANTS}|Water cooler|Lamp|White board|Armchair|Clothes rack)", 1, 3),
    ),
    "kitchen": (
        Group((
            "(Lower cabinet|Drawers cabinet|Sink cabinet|Small lower cabinet|Cooker|Large stove|Stove|"
            "Clothes washing machine|Washing machine|Oven|Double oven)"
        ), 4, 8, "kitchen"),
        Group("(Fridge|Refrigerator|Large fridge|High cabinet|Chest freezer|Water cooler)", 1, 2, "kitchen"),
        Group("(Upper cabinet|Small upper cabinet|Upper shelves cabinet|Range hood|Hood)", 2, 4),
        Group("(Stool|Bar stool|Bullet trash can|Recycling bin|Chair|Shelves)", 1, 3, "kitchen"),
    ),
    "bath": (
        Group("(Bath|Island bath|Corner bathtub|Shower stall|Jacuzzi)", 1, 1, "bath"),
        Group("(Washbasin|Double vanity|Vanity|Small lavatory|Basin)", 1, 2, "bath"),
        Group("(Toilets unit|Bidet|Urinal)", 1, 2),
        Group("(Radiator|Clothes basket|Shelves|Clothes washing machine|Clothes horse|Stool|Towel rack)", 1, 4, "bath"),
    ),
    "store": (
        Group("(Shelves|Vertical shelves|Workbench|Bookcase|Locked locker|Drawers cabinet)", 2, 4, "shelf"),
        Group((
            "(Bicycle|Bike|Step ladder|Small step ladder|Clothes horse|Wheelbarrow|Furnace|Treadmill|Indoor bike|"
            "Fitness tower|Barrel|Trunck)"
        ), 2, 5),
        Group((
            "(Crate|Cardboard box|Open cardboard box|Box|Pallet|Suitcase|Wood logs|Mower|Stroller|Extinguisher|"
            "Folding chair)"
        ), 2, 6, "shelf"),
    ),
}  # fmt: skip
