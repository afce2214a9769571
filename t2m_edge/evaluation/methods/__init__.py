"""The methods of the accuracy study, one a module; all share the interface of ``method``."""

from t2m_edge.evaluation.methods import (
    conse,
    dem,
    devise,
    eszsl,
    icis,
    kernel_prototypes,
    ours,
    ridge_image_to_text,
    ridge_prototypes,
    ridge_rows,
    t2m_hn,
)

LINEAR = (
    ridge_image_to_text.METHOD,
    ridge_prototypes.METHOD,
    ridge_prototypes.ON_SENTENCES,
    ridge_rows.METHOD,
    eszsl.METHOD,
    ridge_prototypes.POOLED,
)
METHODS = (
    *LINEAR,
    kernel_prototypes.METHOD,
    kernel_prototypes.POOLED,
    conse.METHOD,
    devise.METHOD,
    dem.METHOD,
    t2m_hn.LEI_BA,
    icis.METHOD,
    icis.WITH_NOISE,
    t2m_hn.METHOD,
    t2m_hn.IVEV,
    t2m_hn.DELTA,
    ours.METHOD,
    ours.WITH_SET_CONTEXT,
    ours.POOLED,
)
