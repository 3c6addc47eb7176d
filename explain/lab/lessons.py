"""What each lesson of the Learn tab is about: its aim, a question to guess first, and the tasks of
its worksheet with their key.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Question:
    """What learners commit to before they see the answer."""

    text: str
    options: tuple[str, ...]
    right: int  # which of them
    why: str

    def __post_init__(self) -> None:
        if not 0 <= self.right < len(self.options):
            raise ValueError(f"expected the right one of {self.options}, but got {self.right}")


@dataclass(frozen=True)
class Task:
    """One task of a worksheet."""

    text: str
    key: str
    lines: int = 3  # left for the answer


@dataclass(frozen=True)
class Scheme:
    """A drawing of boxes and arrows. boxes: name -> column and row, at most 3 columns of boxes."""

    boxes: dict[str, tuple[float, float]]
    arrows: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Plan:
    """A lesson as a teacher plans it."""

    name: str  # in file names
    title: str
    aim: str
    minutes: int
    scheme: Scheme
    question: Question
    tasks: tuple[Task, ...]


GAN = Plan(
    "gan",
    "How a GAN learns",
    "You can say how two networks that play against each other learn to draw, and what a collapse "
    "is.",
    20,
    Scheme(
        {
            "random numbers": (0, 0), "generator": (1, 0), "drawn digits": (2, 0),
            "real digits": (0, 1), "discriminator": (1, 1), "real or drawn?": (2, 1),
        },
        (
            ("random numbers", "generator"), ("generator", "drawn digits"),
            ("drawn digits", "discriminator"), ("real digits", "discriminator"),
            ("discriminator", "real or drawn?"),
        ),
    ),
    Question(
        "Both networks learn, and all goes well. What does the discriminator's loss do?",
        ("It falls to zero.", "It stays well above zero.", "It grows without end."),
        1,
        "Each learns from the other's mistakes. As the drawings get better, telling them from real "
        "digits stays hard, so the loss stays above zero. A loss near zero means that the "
        "generator was left behind.",
    ),
    (
        Task(
            "Press Play and pause after about 50 steps. What do the 36 samples look like, beside "
            "the first attempt?",
            "The grey fog has gathered into bright, chequered shapes in the middle on a darker "
            "ground. There are no digits yet.",
        ),
        Task(
            "Play on, and read both losses off the curves at three moments.",
            "The numbers differ from run to run of the class. Both move up and down; when one "
            "player gets better, the other one's loss rises. Neither goes to zero for good.",
        ),
        Task(
            "Write down by how much the samples differ. Tick “Make it collapse”, play 50 steps "
            "more, and write it down again.",
            "The number falls: the samples grow more alike. The discriminator no longer learns, so "
            "the generator repeats whatever it accepts.",
        ),
        Task(
            "A forger wants many different faces. Why is a collapsed generator of no use?",
            "It fools its discriminator, but with nearly the same picture every time. That is "
            "called mode collapse.",
        ),
    ),
)  # fmt: skip
AUTOENCODER = Plan(
    "autoencoder",
    "What an autoencoder keeps",
    "You can say what a code is, what is lost when it is small, and how an error shows that "
    "something is unusual.",
    20,
    Scheme(
        {
            "784 pixels": (0, 0), "encoder": (1, 0), "8 numbers": (2, 0),
            "784 rebuilt": (0, 1), "decoder": (1, 1),
        },
        (
            ("784 pixels", "encoder"), ("encoder", "8 numbers"), ("8 numbers", "decoder"),
            ("decoder", "784 rebuilt"),
        ),
    ),
    Question(
        "A digit has 784 pixels. The autoencoder may keep 2 numbers of it. How is it rebuilt?",
        ("Exactly as it was.", "Blurred, and some digits turn into others.", "As grey noise."),
        1,
        "Two numbers can tell some kinds of digits apart, but not how each one is written. Digits "
        "that look alike get nearly the same two numbers, and come back as their average.",
    ),
    (
        Task(
            "Train with 2 numbers. Which digits melt into each other?",
            "Those that look alike: often 4 and 9, 3, 5 and 8. Which ones depends on the run.",
        ),
        Task(
            "Train with 2, 8 and 32 numbers, and write down the mean squared error of each.",
            "The error falls as the code grows. With few numbers a learnt code loses less than a "
            "linear one (PCA).",
        ),
        Task(
            "Which pictures of the last table are called odd, and why?",
            "The face, the cross or the chess board: the network has learnt digits only, and "
            "rebuilds anything else badly. A large error is a sign of something unusual.",
        ),
        Task(
            "Early deepfakes were drawn by autoencoders. Why did their faces look soft?",
            "Fine detail did not fit through the code, so it was lost.",
        ),
    ),
)  # fmt: skip
PRINTS = Plan(
    "fingerprints",
    "Fingerprints of generators",
    "You can say which trace an up-sampler leaves, and where to look for it.",
    15,
    Scheme(
        {
            "a face": (0, 0), "generator": (1, 0), "face, redrawn": (2, 0),
            "spectrum": (0, 1), "fine noise": (1, 1), "minus its blur": (2, 1),
        },
        (
            ("a face", "generator"), ("generator", "face, redrawn"),
            ("face, redrawn", "minus its blur"), ("minus its blur", "fine noise"),
            ("fine noise", "spectrum"),
        ),
    ),
    Question(
        "A generator redraws a face so well that you see no difference. Where does it still show?",
        ("In the colour of the skin.", "In the eyes.", "In the spectrum of the fine noise."),
        2,
        "Every enlargement leaves a faint pattern that repeats. The eye does not see it; in the "
        "spectrum it stands out as bright dots, or as detail that is missing.",
    ),
    (
        Task(
            "Compare the four faces. Can you tell which one is the photo?",
            "Hardly: they look alike, some a little softer.",
        ),
        Task(
            "Compare the four spectra. Which generator shows by dots, which by softness?",
            "The transposed convolution leaves dots at regular places. Generators that enlarge "
            "smoothly lack fine detail: the rim of their spectrum is dark.",
        ),
        Task(
            "Somebody saves the picture as a strongly compressed JPEG. What happens to the trace?",
            "It gets weaker or goes: compression throws fine noise away first. A detector then has "
            "less to see.",
        ),
    ),
)  # fmt: skip
SWAP = Plan(
    "swap",
    "How a face swap is made, and why it flickers",
    "You can say how one encoder and two decoders swap faces, and why the result trembles.",
    25,
    Scheme(
        {
            "face A": (0, 0), "face B": (0, 1), "one encoder": (1, 0.5),
            "decoder A": (2, 0), "decoder B": (2, 1),
        },
        (
            ("face A", "one encoder"), ("face B", "one encoder"), ("one encoder", "decoder A"),
            ("one encoder", "decoder B"),
        ),
    ),
    Question(
        "A clip is converted frame by frame. What gives the swapped face away when it moves?",
        ("It trembles.", "It is darker than the rest.", "It is larger than the rest."),
        0,
        "Nothing ties a frame to the one before. Each face is found, drawn and blended anew, so "
        "small differences change from frame to frame.",
    ),
    (
        Task(
            "Train the two decoders. What does the other person's decoder keep of a face, and what "
            "does it change?",
            "It keeps how the head is turned and its expression, and draws the features of the "
            "person that it learnt.",
        ),
        Task(
            "Sketch the steadiness of both clips before you convert one. Then compare.",
            "The authentic clip stays near 1. The swapped one lies lower and jumps.",
            5,
        ),
        Task(
            "Open the mouth all the way in the last part. What is missing, and why?",
            "Teeth and tongue: pixels are only pulled apart. What was never seen would have to be "
            "invented.",
        ),
        Task(
            "Name one thing that you may do with a swapped face, and one that you may not.",
            "For example: with consent, in a film. Never: somebody without consent, or to deceive.",
        ),
    ),
)  # fmt: skip
COLOUR = Plan(
    "colouring",
    "Colouring the past",
    "You can say what a network can know of colours, and why an edited photo is no deepfake.",
    15,
    Scheme(
        {
            "colour photo": (0, 0), "brightness": (1, 0), "network": (2, 0),
            "how far off?": (0, 1), "guessed colours": (1.5, 1),
        },
        (
            ("colour photo", "brightness"), ("brightness", "network"),
            ("network", "guessed colours"), ("guessed colours", "how far off?"),
            ("colour photo", "how far off?"),
        ),
    ),
    Question(
        "A network colours a grey photo of a person. What will it surely not know?",
        ("The colour of the skin.", "The colour of the coat.", "That pupils are dark."),
        1,
        "Skin has much the same colours for the same brightness, and pupils are dark in grey as "
        "well. A grey coat may have been red, blue or green: the network takes the average.",
    ),
    (
        Task(
            "Colour both photos. How far off are the guessed colours, and how far off is grey?",
            "The numbers stand under the pictures. The guess is mostly nearer to the truth.",
        ),
        Task(
            "Double the strength of the colours. What does the detector's score do?",
            "It may move, although nobody was put into the picture: the detector can react to any "
            "edit.",
        ),
        Task(
            "A newspaper prints a coloured photo of 1910. What should stand under it?",
            "That it was coloured, by whom or by what, and that the colours are guessed.",
        ),
    ),
)  # fmt: skip
GUESS = Plan(
    "guess-first",
    "Guess first: you against the model",
    "You have looked for forgeries yourself, and can say why neither you nor a detector finds all.",
    20,
    Scheme(
        {
            "one face": (0, 0.5), "forged": (1, 0), "untouched": (1, 1),
            "degraded alike": (2, 0.5),
        },
        (
            ("one face", "forged"), ("one face", "untouched"), ("forged", "degraded alike"),
            ("untouched", "degraded alike"),
        ),
    ),
    Question(
        "Both pictures of a pair are compressed alike. Is the forged one then easier to find?",
        ("Easier.", "Harder.", "That makes no difference."),
        1,
        "Compression takes away fine traces of the forgery and leaves traces of its own in both "
        "pictures.",
    ),
    (
        Task(
            "Play ten pairs. For each, write down what you looked at before you chose.",
            "Often: edges of the face, other colours of the skin, less detail, lines at mouth and "
            "eyes.",
            6,
        ),
        Task(
            "How many did you find, how many did the model?",
            "It stands under the table. The same number of the deal gives the same pairs, so the "
            "class can compare.",
        ),
        Task(
            "How many forgeries did the model not call forged when it was asked about one picture "
            "alone? Why is that harder?",
            "It stands in the last sentence. Without the other picture there is nothing to compare "
            "with, and a threshold must keep authentic pictures from being called forged.",
        ),
    ),
)  # fmt: skip
PLANS = (GAN, AUTOENCODER, PRINTS, SWAP, COLOUR, GUESS)
