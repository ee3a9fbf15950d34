"""Word salad that reads like an article, in several languages, with edits at a known similarity.

Pure. Invariants: a `TextSpec` gives the same article everywhere; two specs that differ in ``edits``
alone differ in that many single words and in nothing else, so that their similarity can be computed
and published as ground truth.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from crawler.demo.rng import Rng

_WORDS: Final[dict[str, str]] = {
    "en": (
        "the of and a to in is was for with on as by that from at it an be were are which "
        "this had river garden market winter bridge morning letter story house village "
        "winding teacher harbour mountain school window quiet early bright gentle crossed "
        "opened carried followed built grew remained found described measured old small long "
        "northern hidden ancient people children farmers sailors builders years months summer "
        "evening road forest valley stone paper water bread weather music history engine "
        "record method season library often slowly almost together between across during "
        "before after beyond under every many several"
    ),
    "de": (
        "der die das und in den von zu mit sich des auf für ist im dem nicht ein eine als "
        "auch es an werden aus er hat dass sie nach wird bei einer um am sind noch wie einem "
        "über so zum war Straße Garten Brücke Winter Morgen Brief Geschichte Haus Dorf Lehrer "
        "Hafen Schule Fenster Wasser Wetter Musik Bücher Jahre Kinder Bauern Sommer Abend "
        "Wald Stein Papier still früh langsam häufig zusammen zwischen während öffnete baute "
        "wuchs fand beschrieb alte kleine"
    ),
    "fr": (
        "le la les de des du et à un une en que qui dans pour par sur est avec au ne pas plus "
        "ce se il elle ils son ses leur mais comme tout cette était été être avait même aussi "
        "entre sans rivière jardin marché hiver pont matin lettre histoire maison village "
        "école fenêtre mer montagne enfants années été soir forêt vallée pierre papier eau "
        "pain musique méthode lente souvent presque ensemble pendant après avant chaque "
        "plusieurs trouva ouvrit suivit décrit"
    ),
    "ru": (
        "и в не на что он с как это по но из у за от же так для вы она его к или мы бы был "
        "была они только ещё уже когда если при до чтобы под где есть река сад рынок зима "
        "мост утро письмо история дом деревня учитель гавань гора школа окно тихо рано "
        "светлый открыл построил нашёл старый малый длинный люди дети годы лето вечер дорога "
        "лес долина камень бумага вода хлеб погода музыка книга часто медленно почти вместе "
        "между через после перед каждый многие"
    ),
    "el": (
        "και το η ο να του της με για στο από την τα είναι που θα δεν σε οι των στη ένα μια "
        "αυτό ως ποτάμι κήπος αγορά χειμώνας γέφυρα πρωί γράμμα ιστορία σπίτι χωριό δάσκαλος "
        "λιμάνι βουνό σχολείο παράθυρο ήσυχο νωρίς φωτεινό άνοιξε έχτισε βρήκε παλιό μικρό "
        "παιδιά χρόνια δρόμος καλοκαίρι βράδυ δάσος κοιλάδα πέτρα χαρτί νερό ψωμί καιρός "
        "μουσική συχνά αργά σχεδόν μαζί"
    ),
    "ar": (
        "في من على أن إلى هذا التي الذي عن مع كان ما لا هو هي بعد كل قد بين عند لم ثم أو إذا "
        "حتى النهر الحديقة السوق الشتاء الجسر الصباح الرسالة القصة البيت القرية المعلم "
        "الميناء الجبل المدرسة النافذة هادئ مبكر فتح بنى وجد قديم صغير طويل الناس الأطفال "
        "السنوات الصيف المساء الطريق الغابة الوادي الحجر الورق الماء الخبز الطقس الموسيقى "
        "الكتاب غالبا ببطء معا قبل"
    ),
    "zh": (
        "的 一 是 在 不 了 有 和 人 这 中 大 为 上 个 国 我 以 要 他 时 来 用 们 生 到 作 地 "
        "于 出 就 分 河流 花园 市场 冬天 桥梁 早晨 信件 故事 房子 村庄 老师 港口 山脉 学校 "
        "窗户 安静 明亮 打开 建造 孩子 农民 多年 夏天 晚上 道路 森林 山谷 石头 纸张 清水 面包 "
        "天气 音乐 历史 方法 常常 慢慢 一起"
    ),
    "ja": (
        "の に は を た が で て と し れ さ ある いる も する から な こと として い や など "
        "なっ ない この 川 庭 市場 冬 橋 朝 手紙 物語 家 村 先生 港 山 学校 窓 静か 明るい "
        "開く 建てる 見つける 古い 小さい 子ども 農家 年月 夏 夕方 道 森 谷 石 紙 水 パン "
        "天気 音楽 歴史 方法 しばしば ゆっくり ほとんど"
    ),
}
LANGUAGES: Final = tuple(_WORDS)
_UNSPACED: Final = frozenset({"zh", "ja"})
_VOCABULARY: Final = {language: tuple(words.split()) for language, words in _WORDS.items()}
_CAPITALS: Final = {
    lang: tuple(w[:1].upper() + w[1:] for w in v) for lang, v in _VOCABULARY.items()
}

_SENTENCE: Final = 13  # words, on average
_PARAGRAPH: Final = 5  # sentences


@dataclass(frozen=True, slots=True)
class TextSpec:
    """What an article is made of."""

    key: str  # names the stream of words; equal keys share the base text
    language: str = "en"  # one of LANGUAGES
    words: int = 300  # length of the body
    edits: int = 0  # words of the body replaced, evenly spread

    @property
    def identity(self) -> str:
        """Equal for two specs exactly when their articles are equal."""
        return f"{self.language}:{self.words}:{self.edits}:{self.key}"


@dataclass(frozen=True, slots=True)
class Article:
    """A title and paragraphs of plain text."""

    title: str
    paragraphs: tuple[str, ...]

    @property
    def main_text(self) -> str:
        """What an extractor of main content should find: title, then paragraphs."""
        return "\n".join((self.title, *self.paragraphs))


def article(spec: TextSpec) -> Article:
    """The article that a spec describes; costs about 50 microseconds per 100 words."""
    rng = Rng(f"text/{spec.language}/{spec.key}")
    vocabulary = range(len(_VOCABULARY[spec.language]))
    title = rng.picks(vocabulary, 4)
    breaks = [rng.between(_SENTENCE - 5, _SENTENCE + 5) for _ in range(spec.words // 8 + 1)]
    body = rng.picks(vocabulary, spec.words)
    _edit(body, spec.edits, len(vocabulary))
    sentences = []
    at = 0
    for length in breaks:
        if at >= len(body):
            break
        sentences.append(_sentence(body[at : at + length], spec.language))
        at += length
    gap = "" if spec.language in _UNSPACED else " "
    paragraphs = [
        gap.join(sentences[i : i + _PARAGRAPH]) for i in range(0, len(sentences), _PARAGRAPH)
    ]
    return Article(_sentence(title, spec.language)[:-1], tuple(paragraphs))


def _edit(body: list[int], edits: int, vocabulary: int) -> None:
    """Replace ``edits`` words, evenly spread, each by another word of the vocabulary."""
    for number in range(edits):
        at = (2 * number + 1) * len(body) // (2 * edits)
        body[at] = (body[at] + 1 + number % (vocabulary - 1)) % vocabulary


def _sentence(words: list[int], language: str) -> str:
    lower, upper = _VOCABULARY[language], _CAPITALS[language]
    parts = [lower[i] for i in words]
    parts[0] = upper[words[0]]
    if language in _UNSPACED:
        return "".join(parts) + "。"
    return " ".join(parts) + "."


def shingles(text: str, width: int = 5) -> frozenset[tuple[str, ...]]:
    """The set of word n-grams of a text, case and full stops ignored (spaced languages only)."""
    words = text.casefold().replace(".", " ").split()
    return frozenset(tuple(words[i : i + width]) for i in range(len(words) - width + 1))


def similarity(one: TextSpec, other: TextSpec) -> float:
    """Exact Jaccard similarity of two articles' word 5-grams (Broder 1997), 0..1."""
    a, b = shingles(article(one).main_text), shingles(article(other).main_text)
    return len(a & b) / len(a | b) if a | b else 1.0


def edits_for(target: float, words: int) -> int:
    """How many edits bring a text of ``words`` words closest to a Jaccard similarity of ``target``.

    Each lone edit spoils five 5-grams on either side: J = (n - 5m) / (n + 5m).
    """
    return max(1, round(words * (1 - target) / (5 * (1 + target))))
