//! Names of encodings, as `pg_char_to_encoding` reads and `pg_encoding_to_char` writes them.

/// What PostgreSQL calls its encodings (`src/common/encnames.c`).
#[rustfmt::skip]
const NAMES: [&str; 42] = [
    "SQL_ASCII", "EUC_JP", "EUC_CN", "EUC_KR", "EUC_TW", "EUC_JIS_2004", "UTF8", "MULE_INTERNAL",
    "LATIN1", "LATIN2", "LATIN3", "LATIN4", "LATIN5", "LATIN6", "LATIN7", "LATIN8", "LATIN9",
    "LATIN10", "WIN1256", "WIN1258", "WIN866", "WIN874", "KOI8R", "WIN1251", "WIN1252",
    "ISO_8859_5", "ISO_8859_6", "ISO_8859_7", "ISO_8859_8", "WIN1250", "WIN1253", "WIN1254",
    "WIN1255", "WIN1257", "KOI8U", "SJIS", "BIG5", "GBK", "UHC", "GB18030", "JOHAB",
    "SHIFT_JIS_2004",
];
/// What they were called in dumps before 8.1.
const FORMER: [(&str, &str); 5] =
    [("unicode", "UTF8"), ("alt", "WIN866"), ("win", "WIN1251"), ("tcvn", "WIN1258"), ("koi8", "KOI8R")];

fn clean(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

/// The encoding's present name; `None` for one that PostgreSQL does not know.
pub(super) fn canonical(name: &[u8]) -> Option<&'static str> {
    let name = clean(std::str::from_utf8(name).ok()?);
    let former = FORMER.iter().find(|(old, _)| *old == name).map(|(_, new)| *new);
    former.or_else(|| NAMES.into_iter().find(|known| clean(known) == name))
}
