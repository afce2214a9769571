"""The text encoder's tokenizer: WordPiece whose vocabulary is mostly whole words, chosen for class descriptions.

The encoder learns one vector a token, so a word that is one token has a vector of its own. Plain WordPiece
training on WordNet spends its vocabulary on Latin names; here the whole words are ranked first (running English, names
of things, words known to be common) and word pieces are trained for what is left.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

from t2m_edge.training.text_corpus import Synset

UNKNOWN = "[UNK]"
PIECES_SHARE = 0.16
"""Share of the vocabulary for word pieces."""


def train_tokenizer(synsets: Sequence[Synset], common_words: Collection[str], vocabulary: int = 24_000) -> Tokenizer:
    """A WordPiece tokenizer of exactly `vocabulary` tokens (fewer if the corpus has not enough words).

    Args:
        synsets: the corpus.
        common_words: words known to be common (the teacher's vocabulary, names of often pictured things); those that
            the corpus holds come before others of the same count.
        vocabulary: number of tokens, the unknown token included.
    """
    tokenizer = _empty_tokenizer({UNKNOWN: 0})
    counts = word_counts(synsets, tokenizer)
    n_pieces = int(vocabulary * PIECES_SHARE)

    pieces = _empty_tokenizer({UNKNOWN: 0})
    trainer = trainers.WordPieceTrainer(
        vocab_size=n_pieces, special_tokens=[UNKNOWN], limit_alphabet=64, min_frequency=2, show_progress=False
    )
    # Latin letters only, so that a word of another script is unknown rather than a row of letters; every word a few
    # times at most, so that pieces are learned from many words rather than from the most frequent ones.
    plain = sorted((word, count) for word, count in counts.items() if word.isascii())
    pieces.train_from_iterator((word for word, count in plain for _ in range(min(int(count) + 1, 8))), trainer)
    tokens = sorted(pieces.get_vocab(), key=pieces.get_vocab().__getitem__)

    known = set(tokens)
    for word in _ranked(counts, set(common_words)):
        if len(tokens) >= vocabulary:
            break
        if word not in known and word.isascii() and word.isalpha():
            tokens.append(word)
    return _empty_tokenizer({token: index for index, token in enumerate(tokens)})


def word_counts(synsets: Iterable[Synset], tokenizer: Tokenizer) -> Counter[str]:
    """How much each word matters: once a use in running English, more as the name of a thing, less in proper names."""
    counts: Counter[str] = Counter()
    for synset in synsets:
        for word in words_of(synset.definition, tokenizer):
            counts[word] += 2 if synset.thing else 1
        for example in synset.examples:
            for word in words_of(example, tokenizer):
                counts[word] += 1
        for name in synset.words:
            if name != name.lower():
                weight = 0.5
            else:
                weight = 1 if not synset.thing else 3 if " " in name else 7
            for word in words_of(name, tokenizer):
                counts[word] += weight
    return counts


def words_of(text: str, tokenizer: Tokenizer) -> list[str]:
    """The text normalised and cut as the tokenizer does before it looks for word pieces."""
    return [word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(tokenizer.normalizer.normalize_str(text))]


def _ranked(counts: Counter[str], common_words: set[str]) -> list[str]:
    def value(word: str) -> float:
        return counts[word] + (12 if word in common_words and counts[word] >= 3 else 0)

    return sorted(counts, key=lambda word: (-value(word), word))


def _empty_tokenizer(vocabulary: dict[str, int]) -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token=UNKNOWN, max_input_chars_per_word=60))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer
