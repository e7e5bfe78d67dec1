//! Names like one that was not found. Pure.

/// Names like the one that was not found, as a hint.
pub(crate) fn nearest(name: &str, names: &[String]) -> String {
    let mut near: Vec<(usize, &String)> = names.iter().map(|n| (distance(name, n), n)).collect();
    near.sort();
    let near: Vec<&str> = near.iter().take(3).map(|(_, n)| n.as_str()).collect();
    if near.is_empty() {
        return "It holds none at all.".into();
    }
    format!("Nearest: {}. 'tables' and 'toc' list them all.", near.join(", "))
}

/// Levenshtein's distance, of names cut to 64 characters.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().take(64).enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let next = (row[j] + 1).min(row[j + 1] + 1).min(corner + usize::from(x != *y));
            corner = std::mem::replace(&mut row[j + 1], next);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_names_come_first() {
        let names: Vec<String> = ["grades", "people", "person"].map(String::from).into();
        assert!(nearest("peopel", &names).starts_with("Nearest: people, "));
        assert_eq!((distance("", "abc"), distance("kitten", "sitting")), (3, 3));
    }
}
