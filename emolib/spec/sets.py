"""A record for each set: its name in words, its folds, Table 6's settings on it.

A new set is one file in `data/layouts/` and one record here.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class EmotionSet:
    """What the protocol needs to know of a set before its pictures are opened."""

    title: str  # in tables and figures
    source: str  # for a model card: whose pictures these are
    labelled: str  # for a model card: who said what they evoke
    where: str = ""  # for docs/sets.md: whom to ask for it, under which terms
    pictures: str = ""  # for docs/sets.md: how many copies of it hold
    folds: int = 5  # §4.1.2; 1: one split at random
    shares: tuple[float, float, float] = (0.8, 0.0, 0.2)  # trained on, validated, tested
    lr: float = 1e-4  # Table 6
    init: str = "fi:imagenet"  # the chain that the paper starts from
    brings_folds: bool = False  # whether copies may have folds of their own
    options: tuple[str, ...] = ()  # the fields of RunSpec that are a matter of this set alone
    emotions: bool = True  # whether there may be finer classes
    tested: dict[str, int] = field(default_factory=dict)  # the paper's test pictures, a metric

    @property
    def fine_tuned(self) -> bool:
        """Whether it is trained on in folds, after a training on another set."""
        return self.folds > 1

    @property
    def in_paper(self) -> bool:
        return bool(self.tested)


SETS = {
    "fi": EmotionSet(
        "FI",
        "FI (You et al., AAAI 2016): photographs from Flickr and Instagram",
        "Each picture was found by one of eight emotions as a search word; Amazon Mechanical "
        "Turk workers, five a picture, said whether it arouses that emotion. Four of the emotions "
        "count as positive here.",
        "its authors (University of Rochester), for academic research",
        "the paper: 15,036 positive, 6,158 negative; usual copies: 22,697 to 23,308",
        folds=1,
        shares=(0.80, 0.05, 0.15),
        lr=1e-3,
        init="imagenet",
        tested={"accuracy": 3179},
    ),
    "twitter1": EmotionSet(
        "Twitter I",
        "Twitter I (You et al., AAAI 2015): pictures out of tweets",
        "Five Amazon Mechanical Turk workers a picture said whether it is positive or negative, "
        "as the set's paper tells; {agree} of the five or more agree on those used here.",
        "its authors (University of Rochester), for academic research; folds and labels: "
        "imatge-upc/sentiment-2017-imavis on GitHub (MIT)",
        "769 positive, 500 negative at three agree",
        brings_folds=True,
        options=("agree",),
        emotions=False,
        tested={"accuracy": 1269, "recall": 769},
    ),
    "emotionroi": EmotionSet(
        "EmotionROI",
        "EmotionROI (Peng et al., ICIP 2016): Emotion6's photographs from Flickr",
        "A picture's emotion is the search word it was found by on Flickr; joy and surprise count "
        "as positive.",
        "its authors (Cornell University), for academic research",
        "660 positive, 1,320 negative",
        options=("labels", "split"),
        tested={"accuracy": 1980, "recall": 660},
    ),
    "own": EmotionSet(
        "own set",
        "the user's own pictures and labels.csv",
        "Whoever wrote labels.csv; emolib does not know.",
        "you",
        "from a few hundred on",
        brings_folds=True,
    ),
    "emotion6": EmotionSet(
        "Emotion6",
        "Emotion6 (Peng et al., CVPR 2015): photographs from Flickr",
        "A picture's emotion is the search word it was found by on Flickr; joy and surprise count "
        "as positive. Fifteen people a picture gave valence, arousal and emotions.",
        "its authors (Cornell University), for academic research",
        "1,980; they are EmotionROI's",
        options=("labels", "split"),
    ),
    "emoset": EmotionSet(
        "EmoSet",
        "EmoSet-118K (Yang et al., ICCV 2023): photographs and art from the web",
        "Each picture was found by one of eight emotions as a search word and checked by people. "
        "Four of the emotions count as positive here.",
        "its authors (Shenzhen University), by a form",
        "118,102, of which 17,716 are for testing",
        folds=1,
        shares=(0.80, 0.05, 0.15),
        lr=1e-3,
        init="imagenet",
    ),
    "artphoto": EmotionSet(
        "ArtPhoto",
        "ArtPhoto (Machajdik & Hanbury, ACM MM 2010): photographs by artists",
        "The artist who shared a picture said which of eight emotions it should evoke. Four of "
        "them count as positive here.",
        "imageemotion.org, when it answers; research only",
        "806",
    ),
    "abstract": EmotionSet(
        "Abstract",
        "Abstract paintings (Machajdik & Hanbury, ACM MM 2010)",
        "People on the web voted for one of eight emotions, about fourteen a picture; the most "
        "frequent one counts. Four of the emotions count as positive here.",
        "imageemotion.org, when it answers; research only",
        "280, of which 228 have one most frequent emotion",
    ),
    "twitter2": EmotionSet(
        "Twitter II",
        "Twitter II (Borth et al., ACM MM 2013): pictures out of tweets",
        "Amazon Mechanical Turk workers said whether a picture is positive or negative.",
        "its authors (Columbia University)",
        "603: 470 positive, 133 negative",
        emotions=False,
    ),
    "flickr_ldl": EmotionSet(
        "Flickr_LDL",
        "Flickr_LDL (Yang et al., AAAI 2017): photographs from Flickr",
        "Several people a picture each chose one of eight emotions.",
        "its authors (Nankai University)",
        "about 11,000, with people's votes for eight emotions and nothing else",
        options=("split",),
        emotions=False,
    ),
    "twitter_ldl": EmotionSet(
        "Twitter_LDL",
        "Twitter_LDL (Yang et al., AAAI 2017): pictures out of tweets",
        "Several people a picture each chose one of eight emotions.",
        "its authors (Nankai University)",
        "about 10,000, with people's votes for eight emotions and nothing else",
        options=("split",),
        emotions=False,
    ),
}
DATASETS = tuple(SETS)
FINE_TUNED = tuple(name for name, one in SETS.items() if one.fine_tuned)
PAPERS = tuple(name for name, one in SETS.items() if one.in_paper)
SMALL = tuple(name for name in FINE_TUNED if name in PAPERS)  # Twitter I and EmotionROI
BOTH = "+".join(SMALL)  # what a row over both is called


def in_words(dataset: str) -> str:
    """A set's name in words; "both sets" of BOTH."""
    return "both sets" if dataset == BOTH else SETS[dataset].title
