"""The page at the admin port's `/`: what a person sees of the live numbers. Files as they are; there is no build step.

    index.html   landmarks, headings and empty places
    page.css     light and dark, one column on a phone
    page.js      opens the streams, asks for the rest, fills the places; imports the modules beside it
    stream.js    server-sent events that come back by themselves
    charts.js    the last minutes of a number, by uPlot
    asking.js    routes asked every few seconds, and what to say where there is no answer
    tables.js    rows of contents, edges, readers, campaigns and their funnel
    text.js      numbers, sizes and times as text (pure)
    uplot/       uPlot 1.6.32 (MIT) as published; tests/unit/test_page.py holds its checksums

Every number that it shows is one that the API gave: it computes nothing but shares, and the funnel of
several campaigns, which is the sum of theirs.

    serving.py   the routes, with a strict Content-Security-Policy: no script or style but these files
"""
