// The token: it comes in the fragment of the link, and stays in this tab only.
//
// A fragment is sent to no server and to no log. It is taken out of the address bar at once, so that it is not in a
// screenshot, a bookmark or a link that somebody copies.

const PLACE = "asyncfilter-token";
const LINK = /^#t=([A-Za-z0-9_-]{43})$/;

/** Take the token out of the address, if one is there; whether there was. */
function takeFromAddress() {
  const given = LINK.exec(location.hash);
  if (!given) return false;
  sessionStorage.setItem(PLACE, given[1]);
  history.replaceState(null, "", location.pathname + "#decide");
  return true;
}

takeFromAddress();
// A newer link pasted into an open tab changes the fragment only: the page starts again with it.
addEventListener("hashchange", () => takeFromAddress() && location.reload());

export const token = sessionStorage.getItem(PLACE);
