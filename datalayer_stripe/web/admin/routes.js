/** The addresses of the views: the part of the URL after `#`, such as `#/accounts/alice`. */

/** Return the section, the id or null, and the parameters of a hash. */
export function parseRoute(hash) {
  const [path, query = ""] = hash.replace(/^#\/?/, "").split("?");
  const [section, id = ""] = path.split("/");
  return {
    section: section || "overview",
    id: decoded(id) || null,
    parameters: Object.fromEntries(new URLSearchParams(query)),
  };
}

const link = (path, parameters = {}) => {
  const given = Object.entries(parameters).filter(([, value]) => value);
  return `#/${path}${given.length > 0 ? `?${new URLSearchParams(given)}` : ""}`;
};

export const overviewLink = (days) => link("", { days });
export const eventsLink = (filter) => link("events", filter);
export const accountsLink = (query) => link("accounts", { query });
export const accountLink = (uid) => link(`accounts/${encodeURIComponent(uid)}`);

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // a stray "%"
  }
}
