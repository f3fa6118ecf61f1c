use super::{database_of, in_database, without_password};

#[test]
fn a_url_leads_to_another_database_of_the_same_server() {
    let check = |url: &str, database: &str, other: &str| {
        assert_eq!(database_of(url), database, "{url}");
        assert_eq!(in_database(url, "b"), other, "{url}");
    };
    check("postgres://u:p@h:1/a", "a", "postgres://u:p@h:1/b");
    check(
        "postgres://u@h/a?sslmode=require",
        "a",
        "postgres://u@h/b?sslmode=require",
    );
    check("postgres://h", "", "postgres://h/b");
    check("postgres://h?x=/y", "", "postgres://h/b?x=/y");
}

#[test]
fn the_password_is_taken_out() {
    let check = |url: &str, bare: &str, password: &str| {
        assert_eq!(without_password(url), (bare.to_owned(), password.to_owned()), "{url}");
    };
    check("postgres://u:p@h:1/a?b=c", "postgres://u@h:1/a?b=c", "p");
    check("postgres://u:a%40b%2f%zz%@h/a", "postgres://u@h/a", "a@b/%zz%");
    check("postgres://u:@h/a", "postgres://u@h/a", "");
    check("postgres://u@h:1/a", "postgres://u@h:1/a", "");
    check("postgres://h:1/a:b@c", "postgres://h:1/a:b@c", "");
}
