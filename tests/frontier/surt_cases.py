"""What the ``surt`` library (internetarchive/surt) answers for URLs, restated as a table.

The URLs are those of its tests/test_surt.py that its default canonicaliser can be asked about, and
some beside them; ``SURT_DEVIATIONS`` holds all of them that we answer otherwise.
"""

from __future__ import annotations

from typing import Final

# (URL, key)
SURT = [
    ("http://www.archive.org/", "org,archive)/"),
    ("http://archive.org/goo/", "org,archive)/goo"),
    ("http://archive.org/goo/?", "org,archive)/goo"),
    ("http://archive.org/goo/?b&a", "org,archive)/goo?a&b"),
    ("http://archive.org/goo/?a=2&b&a=1", "org,archive)/goo?a=1&a=2&b"),
    ("https://www34.archive.org/Index.HTML?b=A", "org,archive)/index.html?b=a"),
    ("http://www2foo.com/", "com,www2foo)/"),
    ("http://www.google.com.../", "com,google)/"),
    ("http://www.example.org:8080/x", "org,example:8080)/x"),
    ("https://www.example.org:80/", "org,example:80)/"),
    ("http://127.0.0.1:8080/A", "1,0,0,127:8080)/a"),
    ("http://[::1]/x", "::1)/x"),
    ("http://host.com//two//slashes/?more//slashes", "com,host)/two/slashes?more//slashes"),
    ("http://host/%25%32%35", "host)/%25"),
    ("http://host/%2525252525252525", "host)/%25"),
    ("http://host/%%%25%32%35asd%%", "host)/%25%25%25asd%25%25"),
    ("http://host/%257Ea%2521b%2540c%2523d%2524e%25f", "host)/~a!b@c%23d$e%25f"),
    ("http://a.com/..%2F..%2Fx", "com,a)/x"),
    ("http://b\xfccher.ch:8080?#foo", "ch,xn--bcher-kva:8080)/"),
    ("http://a.com/\xfc?\xfc", "com,a)/%c3%bc?%c3%bc"),
    ("http://a.com/i.php?PHPSESSID=0123456789abcdefghijklemopqrstuv&u=1", "com,a)/i.php?u=1"),
    ("http://a.com/?a=b&sid=0123456789abcdef0123456789abcdef&x=y", "com,a)/?a=b&x=y"),
    ("http://a.com/?CFID=1169580&CFTOKEN=48630702&d=22%2F08", "com,a)/?d=22/08"),
    ("http://a.com/(S(4hqa0555fwsecu455xqckv45))/mileg.aspx", "com,a)/mileg.aspx"),
    ("http://a.com/(4hqa0555fwsecu455xqckv45)/mileg.aspx", "com,a)/mileg.aspx"),
    ("http://a.com/photos/36050182@N05/", "com,a)/photos/36050182@n05"),
    ("http://www.archive.org/index.html#foo", "org,archive)/index.html"),
    ("http://www.archive.org", "org,archive)/"),
    ("http://www.archive.org?", "org,archive)/"),
    ("http://www.archive.org:8080/index.html?query#foo", "org,archive:8080)/index.html?query"),
    ("http://www.archive.org:8080/index.html?#foo", "org,archive:8080)/index.html"),
    ("http:////////////////www.vikings.com", "com,vikings)/"),
    (
        "http://mineral.galleries.com:/minerals/silicate/chabazit/chabazit.htm",
        "com,galleries,mineral)/minerals/silicate/chabazit/chabazit.htm",
    ),
    ("http://www.alexa.com/", "com,alexa)/"),
    ("http://archive.org/index.html", "org,archive)/index.html"),
    ("http://archive.org/index.html?", "org,archive)/index.html"),
    ("http://archive.org/index.html?a=b", "org,archive)/index.html?a=b"),
    ("http://archive.org/index.html?b=b&a=b", "org,archive)/index.html?a=b&b=b"),
    ("http://archive.org/index.html?b=a&b=b&a=b", "org,archive)/index.html?a=b&b=a&b=b"),
    ("http://www34.archive.org/index.html?b=a&b=b&a=b", "org,archive)/index.html?a=b&b=a&b=b"),
    ("http://host/%25%32%35%25%32%35", "host)/%25%25"),
    ("http://host/asdf%25%32%35asd", "host)/asdf%25asd"),
    ("http://www.google.com/", "com,google)/"),
    (
        "http://%31%36%38%2e%31%38%38%2e%39%39%2e%32%36/%2E%73%65%63%75%72%65/%77%77%77%2E%65%62%61%79%2E%63%6F%6D/",
        "26,99,188,168)/.secure/www.ebay.com",
    ),
    (
        "http://195.127.0.11/uploads/%20%20%20%20/.verify/.eBaysecure=updateuserdataxplimnbqmn-xplmvalidateinfoswqpcmlx=hgplmcx/",
        "11,0,127,195)/uploads/%20%20%20%20/.verify/.ebaysecure=updateuserdataxplimnbqmn-xplmvalidateinfoswqpcmlx=hgplmcx",
    ),
    ("http://3279880203/blah", "11,0,127,195)/blah"),
    ("http://www.google.com/blah/..", "com,google)/"),
    ("http://www.evil.com/blah#frag", "com,evil)/blah"),
    ("http://www.GOOgle.com/", "com,google)/"),
    ("http://www.google.com/foo\tbar\rbaz\n2", "com,google)/foobarbaz2"),
    ("http://www.google.com/q?", "com,google)/q"),
    ("http://www.google.com/q?r?", "com,google)/q?r?"),
    ("http://www.google.com/q?r?s", "com,google)/q?r?s"),
    ("http://evil.com/foo#bar#baz", "com,evil)/foo"),
    ("http://evil.com/foo;", "com,evil)/foo;"),
    ("http://evil.com/foo?bar;", "com,evil)/foo?bar;"),
    ("http://\u2603.com", "com,xn--n3h)/"),
    ("http://notrailingslash.com", "com,notrailingslash)/"),
    ("http://www.gotaport.com:1234/", "com,gotaport:1234)/"),
    ("  http://www.google.com/  ", "com,google)/"),
    ("https://www.securesite.com/", "com,securesite)/"),
    ("http://host.com/ab%23cd", "com,host)/ab%23cd"),
    ("http://host.com//twoslashes?more//slashes", "com,host)/twoslashes?more//slashes"),
    ("http://017.0.0.1/", "1,0,0,15)/"),
    ("http://10.0.258/", "2,1,0,10)/"),
    ("http://ARCHIVE.ORG/", "org,archive)/"),
    ("http://www.archive.org:80/", "org,archive)/"),
    ("https://www.archive.org:80/", "org,archive:80)/"),
    ("http://www.archive.org:443/", "org,archive:443)/"),
    ("https://www.archive.org:443/", "org,archive)/"),
    ("http://www.archive.org/big/", "org,archive)/big"),
    ("http://a.com/?a=1&", "com,a)/?&a=1"),
    ("http://a.com/?b=b&a=b&b=a&a=a", "com,a)/?a=a&a=b&b=a&b=b"),
    ("http://www2.www2foo.com/", "com,www2foo)/"),
    ("http://www12.foo.com/", "com,foo)/"),
    (
        "http://a.com/(a(4hqa0555fwsecu455xqckv45)S(4hqa0555fwsecu455xqckv45)f(4hqa0555fwsecu455xqckv45))/mileg.aspx?page=sessionschedules",
        "com,a)/mileg.aspx?page=sessionschedules",
    ),
    (
        "http://www.archive.org/index.html?jsessionid=0123456789abcdefghijklemopqrstuv",
        "org,archive)/index.html",
    ),
    (
        "http://www.archive.org/index.html?jsessionid=0123456789abcdefghijklemopqrstuv0",
        "org,archive)/index.html?jsessionid=0123456789abcdefghijklemopqrstuv0",
    ),
    (
        "http://www.archive.org/index.html?jsessionid=0123456789abcdefghijklemopqrstuv&x=y",
        "org,archive)/index.html?x=y",
    ),
    (
        "http://www.archive.org/index.html?one=two&jsessionid=0123456789abcdefghijklemopqrstuv&x=y",
        "org,archive)/index.html?one=two&x=y",
    ),
    (
        "http://www.archive.org/index.html?one=two&jsessionid=0123456789abcdefghijklemopqrstuv",
        "org,archive)/index.html?&one=two",
    ),
    (
        "http://www.archive.org/index.html?aspsessionidABCDEFGH=ABCDEFGHIJKLMNOPQRSTUVWX&x=y",
        "org,archive)/index.html?x=y",
    ),
    (
        "http://www.archive.org/index.html?phpsessid=0123456789abcdefghijklemopqrstuv&x=y",
        "org,archive)/index.html?x=y",
    ),
    (
        "http://www.archive.org/index.html?one=two&phpsessid=0123456789abcdefghijklemopqrstuv",
        "org,archive)/index.html?&one=two",
    ),
    (
        "http://www.archive.org/index.html?sid=9682993c8daa2c5497996114facdc805&x=y",
        "org,archive)/index.html?x=y",
    ),
    (
        "http://www.archive.org/index.html?sid=9682993c8daa2c5497996114facdc805&jsessionid=0123456789abcdefghijklemopqrstuv",
        "org,archive)/index.html",
    ),
    (
        "http://www.archive.org/index.html?CFID=1169580&CFTOKEN=48630702&dtstamp=22%2F08%2F2006%7C06%3A58%3A11",
        "org,archive)/index.html?dtstamp=22/08/2006|06:58:11",
    ),
    (
        "http://www.archive.org/index.html?CFID=14475712&CFTOKEN=2D89F5AF-3048-2957-DA4EE4B6B13661AB&r=468710288378&m=forgotten",
        "org,archive)/index.html?m=forgotten&r=468710288378",
    ),
    (
        "http://www.archive.org/index.html?CFID=16603925&CFTOKEN=2AE13EEE-3048-85B0-56CEDAAB0ACA44B8",
        "org,archive)/index.html",
    ),
    (
        "http://www.archive.org/index.html?CFID=4308017&CFTOKEN=63914124&requestID=200608200458360%2E39414378",
        "org,archive)/index.html?requestid=200608200458360.39414378",
    ),
    (
        "http://archive.org/index.php?PHPSESSID=0123456789abcdefghijklemopqrstuv&action=profile;u=4221",
        "org,archive)/index.php?action=profile;u=4221",
    ),
    (
        "http://visit.webhosting.yahoo.com/visit.gif?&r=http%3A//web.archive.org/web/20090517140029/http%3A//anthonystewarthead.electric-chi.com/&b=Netscape%205.0%20%28Windows%3B%20en-US%29&s=1366x768&o=Win32&c=24&j=true&v=1.2",
        "com,yahoo,webhosting,visit)/visit.gif?&b=netscape%205.0%20(windows;%20en-us)&c=24&j=true&o=win32&r=http://web.archive.org/web/20090517140029/http://anthonystewarthead.electric-chi.com/&s=1366x768&v=1.2",
    ),
    ("http://user:pw@a.com/", "com,a)/"),
    ("http://a...com/", "com,,a)/"),
    ("http://a.com/..%2Fx", "com,a)/../x"),
    ("http://example.com/foo?utm_source=x&a=1", "com,example)/foo?a=1&utm_source=x"),
]

_WHATWG: Final = "WHATWG: no valid host"
_SCHEME: Final = "WHATWG: a URL without a base has a scheme; seeds get one before they are parsed"

# (URL, our key or None for an invalid URL, the library's, why)
SURT_DEVIATIONS = [
    (
        "http://https://order.1and1.com",
        "https)/order.1and1.com",
        "com,1and1,order)/",
        "WHATWG: the host is https",
    ),
    ("http://a.com/\\b", "com,a)/b", "com,a)/\\b", "WHATWG: a backslash is a slash"),
    ("http://example.com\\foo", "com,example)/foo", "com\\foo,example)/", "as above"),
    (
        "https://fa\xdf.de/",
        "de,xn--fa-hia)/",
        "de,fass)/",
        "IDNA 2008, as WHATWG has it; the library has 2003",
    ),
    ("http://a.com:0/", "com,a:0)/", "com,a)/", "port 0 is not the default port"),
    ("http://./", ")/", "http:/", "a key without a host sorts before all others"),
    ("www.google.com/", None, "com,google)/", _SCHEME),
    ("www.google.com", None, "com,google)/", _SCHEME),
    ("B\xfccher.ch:8080", None, "ch,xn--bcher-kva:8080)/", _SCHEME),
    ("\u2603.com", None, "com,xn--n3h)/", _SCHEME),
    ("http://host%23.com/", None, "com,host%23)/", _WHATWG),
    ("http://\x01\x80.com/", None, "com,%01%c2%80)/", _WHATWG),
    ("http://www.t%EF%BF%BD%04.82.net/", None, "net,82,t%ef%bf%bd%04)/", _WHATWG),
    ("http:// leadingspace.com/", None, "com,%20leadingspace)/", _WHATWG),
    ("http://%20leadingspace.com/", None, "com,%20leadingspace)/", _WHATWG),
    ("http://1.2.3.256/", None, "256,3,2,1)/", _WHATWG),
    ("http://39024579298/", None, "226,210,11,22)/", _WHATWG),
]
