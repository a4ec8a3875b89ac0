"""What the simulated Instagram and Facebook share: Meta's way of answering, limiting, fetching and taking bytes.

It knows no account and no post; the two platforms bring those. Rules: facebook sheet, sections 3 to 5 and 7;
instagram sheet, sections 4.2, 4.3 and 9 (2026-11-22).
"""
