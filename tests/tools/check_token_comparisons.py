"""Fails when tokens, or digests of them, are compared elsewhere or otherwise than in constant time.

Usage: check_token_comparisons.py [ROOT]

Prints one line per breach. A digest's bytes are private to server/security/tokens.h and cannot be compared with ==;
this looks for what a compiler lets pass.
"""

import pathlib
import re
import sys

TOKENS = "server/security/tokens.cc"
# What is looked for in server/, where it may be and how often, and why.
RULES = (
    (re.compile(r"\bCRYPTO_memcmp\("), {TOKENS: 1}, "tokens are compared in one place"),
    # The one equal() compares the scheme's name, which is public.
    (re.compile(r"(?<!CRYPTO_)\b(?:memcmp|strn?cmp|strn?casecmp|equal|lexicographical_compare|mismatch)\("),
     {TOKENS: 1}, "a comparison that ends at the first difference"),
    (re.compile(r"\bbytes_\b"), {TOKENS: 2, "server/security/tokens.h": 2}, "a digest's bytes are for one comparison"),
    (re.compile(r'header\("authorization"\)'), {"server/rpc/service.cc": 1}, "a token that is shown is looked up once"),
)
# How the header is used: given to the look-up and to nothing else.
LOOK_UP = re.compile(r'FindToken\([^;]*BearerToken\(call\.header\("authorization"\)\)\);')
# Where any comparison of text could be one of tokens.
SECRETS = re.compile(r"(server/security/|server/rpc/(caller|service)\.).*")


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    texts = {path.relative_to(root).as_posix(): re.sub(r"//.*", "", path.read_text(encoding="utf-8"))
             for path in (root / "server").rglob("*") if path.suffix in {".h", ".cc", ".cu"}}
    breaches = []
    for pattern, allowed, why in RULES:
        for path in {path for path in texts if SECRETS.match(path)} | set(allowed):
            found = len(pattern.findall(texts.get(path, "")))
            if found != allowed.get(path, 0):
                breaches.append(f"{path}: {found} times {pattern.pattern}, expected {allowed.get(path, 0)}: {why}")
    for path, text in texts.items():
        if 'header("authorization")' in text and not LOOK_UP.search(text):
            breaches.append(f"{path}: a token that is shown goes elsewhere than to FindToken")
    for breach in breaches:
        print(breach)
    return 1 if breaches else 0


if __name__ == "__main__":
    sys.exit(main())
