"""The page's one theme: what Gradio's parts and our own look like, light and dark.

Our style sheets take their colours from the variables that Gradio makes of it (`frame.css`).
"""

from __future__ import annotations

import gradio as gr
from gradio.themes.utils import sizes

FONTS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Ubuntu", "sans-serif")
MONO_FONTS = ("ui-monospace", "SFMono-Regular", "Menlo", "monospace")
# name in the theme: light, dark
COLOURS = {
    "body_background_fill": ("#f6f7f8", "#16181b"),
    "body_text_color": ("#1b1e22", "#e6e8eb"),
    "body_text_color_subdued": ("#5b6270", "#a0a7b2"),
    "background_fill_primary": ("#ffffff", "#1e2125"),
    "background_fill_secondary": ("#f0f2f4", "#282c31"),
    "border_color_primary": ("#e3e5e8", "#30343a"),
    "border_color_accent": ("#3b6fe0", "#3b6fe0"),
    "color_accent_soft": ("#eaf0fd", "#22304d"),
    "link_text_color": ("#2f5fc9", "#8db0fb"),
    "link_text_color_hover": ("#2f5fc9", "#8db0fb"),
    "link_text_color_active": ("#2f5fc9", "#8db0fb"),
    "link_text_color_visited": ("#2f5fc9", "#8db0fb"),
    "code_background_fill": ("#f0f2f4", "#282c31"),
    "block_background_fill": ("#ffffff", "#1e2125"),
    "block_border_color": ("#e3e5e8", "#30343a"),
    "block_info_text_color": ("#5b6270", "#a0a7b2"),
    "block_label_text_color": ("#5b6270", "#a0a7b2"),
    "block_title_text_color": ("#1b1e22", "#e6e8eb"),
    "table_text_color": ("#1b1e22", "#e6e8eb"),
    "table_border_color": ("#e3e5e8", "#30343a"),
    "table_even_background_fill": ("#ffffff", "#1e2125"),
    "table_odd_background_fill": ("#ffffff", "#1e2125"),
    "table_row_focus": ("#eaf0fd", "#22304d"),
    "input_background_fill": ("#ffffff", "#1e2125"),
    "input_border_color": ("#c9cdd3", "#474d56"),
    "input_border_color_focus": ("#3b6fe0", "#3b6fe0"),
    "input_placeholder_color": ("#5b6270", "#a0a7b2"),
    "checkbox_background_color": ("#ffffff", "#1e2125"),
    "checkbox_background_color_selected": ("#3b6fe0", "#3b6fe0"),
    "checkbox_border_color": ("#c9cdd3", "#474d56"),
    "checkbox_border_color_selected": ("#3b6fe0", "#3b6fe0"),
    "checkbox_label_background_fill": ("#ffffff", "#1e2125"),
    "checkbox_label_background_fill_hover": ("#f0f2f4", "#282c31"),
    "checkbox_label_background_fill_selected": ("#eaf0fd", "#22304d"),
    "checkbox_label_border_color": ("#c9cdd3", "#474d56"),
    "checkbox_label_border_color_selected": ("#3b6fe0", "#3b6fe0"),
    "checkbox_label_text_color_selected": ("#2f5fc9", "#8db0fb"),
    "error_background_fill": ("#fcebe9", "#3d2322"),
    "error_border_color": ("#c0362c", "#ff8a80"),
    "error_text_color": ("#c0362c", "#ff8a80"),
    "error_icon_color": ("#c0362c", "#ff8a80"),
    "button_primary_background_fill": ("#3b6fe0", "#3b6fe0"),
    "button_primary_background_fill_hover": ("#2f5fc9", "#2f5fc9"),
    "button_primary_border_color": ("#3b6fe0", "#3b6fe0"),
    "button_primary_text_color": ("#ffffff", "#ffffff"),
    "button_secondary_background_fill": ("#ffffff", "#1e2125"),
    "button_secondary_background_fill_hover": ("#f0f2f4", "#282c31"),
    "button_secondary_border_color": ("#c9cdd3", "#474d56"),
    "button_secondary_border_color_hover": ("#c9cdd3", "#474d56"),
    "button_secondary_text_color": ("#1b1e22", "#e6e8eb"),
    "button_secondary_text_color_hover": ("#1b1e22", "#e6e8eb"),
    "button_cancel_background_fill": ("#ffffff", "#1e2125"),
    "button_cancel_background_fill_hover": ("#fcebe9", "#3d2322"),
    "button_cancel_border_color": ("#c9cdd3", "#474d56"),
    "button_cancel_text_color": ("#c0362c", "#ff8a80"),
    "button_cancel_text_color_hover": ("#c0362c", "#ff8a80"),
    "slider_color": ("#3b6fe0", "#3b6fe0"),
    "loader_color": ("#3b6fe0", "#3b6fe0"),
    "stat_background_fill": ("#eaf0fd", "#22304d"),
    "accordion_text_color": ("#1b1e22", "#e6e8eb"),
}


def theme() -> gr.themes.Base:
    """Returns the theme: system font, 14 px text, 8 px corners, no shadows."""
    made = gr.themes.Base(
        primary_hue="blue",
        neutral_hue="gray",
        spacing_size=sizes.spacing_sm,
        radius_size=sizes.radius_md,
        text_size=sizes.text_sm,
        font=FONTS,
        font_mono=MONO_FONTS,
    )
    colours = {}
    for name, (light, dark) in COLOURS.items():
        colours |= {name: light, f"{name}_dark": dark}
    shadows = dict.fromkeys(("block_shadow", "input_shadow", "input_shadow_focus"), "none")
    return made.set(
        **colours,
        **shadows,
        color_accent="#3b6fe0",
        body_text_size="14px",
        prose_text_size="14px",
        block_border_width="1px",
        block_label_border_width="0px",
        block_title_text_weight="500",
        block_title_text_size="13px",
        block_info_text_size="12px",
        block_label_text_size="12px",
        block_padding="12px",
        block_radius="8px",
        container_radius="8px",
        input_border_width="1px",
        input_radius="8px",
        input_padding="6px 8px",
        input_text_size="13px",
        table_radius="8px",
        layout_gap="12px",
        form_gap_width="0px",
        section_header_text_size="14px",
        section_header_text_weight="600",
        checkbox_label_text_size="13px",
        checkbox_label_padding="4px 10px",
        button_border_width="1px",
        button_large_radius="8px",
        button_medium_radius="8px",
        button_small_radius="8px",
        button_large_text_size="13px",
        button_medium_text_size="13px",
        button_small_text_size="12px",
        button_large_text_weight="500",
        button_medium_text_weight="500",
        button_small_text_weight="500",
        button_large_padding="7px 14px",
        button_medium_padding="6px 12px",
        button_small_padding="4px 8px",
        button_transition="none",
    )
