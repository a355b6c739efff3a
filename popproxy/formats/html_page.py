"""The frame of an HTML page: its style, its script, and the policy that lets nothing else in (P47).

The page needs no network and no file beside it. Its Content-Security-Policy allows this style and
this script by their SHA-256 and nothing else, so that whatever a peer said cannot load, run or
send anything, even if an escape were missing. Without a script everything can be read and unfolded;
the script adds a filter, keys, and unfolds what is printed.
"""

from __future__ import annotations

import base64
import hashlib
from typing import Final

STYLE: Final = """\
:root{color-scheme:light dark;--bg:#fff;--fg:#1c2024;--dim:#5b6570;--line:#dfe3e8;--soft:#f5f7f9;
--client:#0b57a8;--server:#1b6e3c;--bar:#b9c3ce;--warn:#8a5300;--bad:#b3261e;--mask:#fff1c2;
--focus:#0b57a8}
@media (prefers-color-scheme:dark){:root{--bg:#14171a;--fg:#e4e8ec;--dim:#98a3ae;--line:#2c333a;
--soft:#1b1f24;--client:#7db7f5;--server:#7fcf9d;--bar:#45505b;--warn:#f0b35b;--bad:#ff8a80;
--mask:#4a3d12;--focus:#7db7f5}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:76rem;padding:1.5rem 1.25rem 4rem;background:var(--bg);
color:var(--fg);font:15px/1.5 system-ui,sans-serif}
h1{font-size:1.5rem;margin:0 0 .25rem}
h2{font-size:1.15rem;margin:0}
h2 small{color:var(--dim);font-weight:400;font-size:.85rem;margin-left:.5rem}
p{margin:.25rem 0}
.dim{color:var(--dim)}
a{color:inherit}
a:focus-visible,summary:focus-visible,input:focus-visible,.x:focus-visible{
outline:2px solid var(--focus);outline-offset:2px;border-radius:3px}
.skip{position:absolute;left:-99rem}
.skip:focus{left:1rem;top:1rem;background:var(--bg);padding:.25rem .5rem;z-index:2}
.wide{overflow-x:auto;margin:1rem 0 2rem}
table{border-collapse:collapse;width:100%;font-size:.9rem}
th,td{text-align:left;padding:.35rem .75rem .35rem 0;border-bottom:1px solid var(--line);
white-space:nowrap}
th{color:var(--dim);font-weight:500}
.n{text-align:right;font-variant-numeric:tabular-nums}
section{border-top:2px solid var(--line);padding:1.25rem 0 1.5rem}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.1rem 1rem;margin:.6rem 0 1rem;
font-size:.9rem}
dt{color:var(--dim)}
dd{margin:0;overflow-wrap:anywhere}
ol.talk{list-style:none;margin:0;padding:0;font:13px/1.55 ui-monospace,SFMono-Regular,Menlo,
Consolas,monospace}
.x{display:grid;grid-template-columns:4.5rem 1.2rem minmax(0,1fr) max-content;column-gap:.5rem;
padding:.1rem .4rem;border-left:3px solid transparent}
.x:target{background:var(--soft)}
.x.c{border-color:var(--client)}
.x.s{border-color:var(--server)}
.t,.d{color:var(--dim);font-variant-numeric:tabular-nums}
.t{text-align:right}
.d{text-align:right;white-space:nowrap}
.w{font-weight:700}
.c .w{color:var(--client)}
.s .w{color:var(--server)}
.x code{font:inherit;white-space:pre-wrap;overflow-wrap:anywhere}
.c code{font-weight:600}
.err code{color:var(--bad)}
.x>details,.x>.note{grid-column:3/5}
.note{font:13px/1.5 system-ui,sans-serif;color:var(--dim)}
.note b{font-weight:600}
.warning{color:var(--warn)}
.error,.gap{color:var(--bad)}
summary{cursor:pointer;color:var(--dim);font:13px/1.55 system-ui,sans-serif}
summary b{color:var(--fg);font-weight:500}
pre{margin:.25rem 0 .5rem;padding:.5rem .75rem;background:var(--soft);border-radius:4px;
white-space:pre-wrap;overflow-wrap:anywhere;font:inherit}
mark{background:var(--mask);color:inherit;border-radius:2px;padding:0 .15em}
.eol{color:var(--dim)}
svg.bar{display:block;width:100%;height:3px;grid-column:3/5;color:var(--bar);margin:.1rem 0}
.tools{display:flex;flex-wrap:wrap;gap:.75rem;align-items:center;margin:1rem 0;font-size:.9rem}
.tools input{font:inherit;padding:.3rem .5rem;border:1px solid var(--line);border-radius:4px;
background:var(--bg);color:var(--fg);min-width:16rem}
.tools button{font:inherit;padding:.3rem .7rem;border:1px solid var(--line);border-radius:4px;
background:var(--soft);color:var(--fg);cursor:pointer}
[hidden]{display:none!important}
@media (max-width:40rem){body{padding:1rem .75rem}.x{grid-template-columns:1.4rem minmax(0,1fr)}
.t{display:none}.d{grid-column:2;text-align:left}.x>details,.x>.note,svg.bar{grid-column:2}
.tools input{min-width:0;flex:1}}
@media print{:root{color-scheme:light;--bg:#fff;--fg:#000;--dim:#444;--soft:#fff;--line:#bbb}
body{max-width:none;padding:0;font-size:11px}.tools,.skip{display:none}
pre{border:1px solid var(--line)}section{break-inside:auto}h2,dl{break-after:avoid}
.x{break-inside:avoid-page}}
"""

SCRIPT: Final = """\
(() => {
  const all = (what, where = document) => [...where.querySelectorAll(what)];
  const lines = all('.x');
  const tools = document.createElement('div');
  tools.className = 'tools';
  const filter = document.createElement('input');
  filter.type = 'search';
  filter.placeholder = 'Show lines with …';
  filter.setAttribute('aria-label', 'Show lines with');
  const button = (text, act) => {
    const made = document.createElement('button');
    made.type = 'button';
    made.textContent = text;
    made.addEventListener('click', act);
    tools.append(made);
    return made;
  };
  tools.append(filter);
  let odd = false;
  const show = () => {
    const wanted = filter.value.toLowerCase();
    for (const line of lines) {
      const hidden = odd && !line.matches('.odd');
      line.hidden = hidden || !line.textContent.toLowerCase().includes(wanted);
    }
  };
  filter.addEventListener('input', show);
  const only = button('Findings only', () => {
    odd = !odd;
    only.setAttribute('aria-pressed', String(odd));
    only.textContent = odd ? 'Everything' : 'Findings only';
    show();
  });
  const unfold = (open) => all('details').forEach((one) => { one.open = open; });
  button('Unfold all', () => unfold(true));
  button('Fold all', () => unfold(false));
  const hint = document.createElement('span');
  hint.className = 'dim';
  hint.textContent = 'Keys: j and k go on and back, o unfolds, / filters.';
  tools.append(hint);
  document.querySelector('#sessions').after(tools);
  addEventListener('beforeprint', () => unfold(true));
  const go = (by) => {
    const shown = lines.filter((line) => !line.hidden);
    const at = shown.indexOf(document.activeElement.closest('.x'));
    const next = shown[Math.min(Math.max(at + by, 0), shown.length - 1)];
    if (next) next.focus();
  };
  addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target === filter) {
      if (event.key === 'Escape') { filter.value = ''; show(); filter.blur(); }
      return;
    }
    if (event.key === 'j') go(1);
    else if (event.key === 'k') go(-1);
    else if (event.key === '/') filter.focus();
    else if (event.key === 'o') {
      const here = document.activeElement.closest('.x');
      all('details', here || undefined).slice(0, here ? undefined : 0)
        .forEach((one) => { one.open = !one.open; });
    } else return;
    event.preventDefault();
  });
})();
"""


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{_digest(STYLE)}';"
    f" script-src 'sha256-{_digest(SCRIPT)}'; base-uri 'none'; form-action 'none'"
)
"""The page's Content-Security-Policy."""


def head(title: str) -> str:
    """Give everything before the page's own content.

    Args:
        title: The title, escaped.
    """
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n'
        f"<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        '<a class="skip" href="#sessions">To the sessions</a>\n'
    )


def foot() -> str:
    """Give everything behind it."""
    return f"<script>{SCRIPT}</script>\n</body>\n</html>\n"
