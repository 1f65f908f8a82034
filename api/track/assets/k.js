// Kairos' snippet for landing pages: <script src="https://…/k.js" async></script>
// It reads the token a tracked link brought (kt), remembers it for the visit,
// reports page.viewed, and offers kairos.track(kind, {key, amount, currency, data}).
(function () {
  "use strict";
  var script = document.currentScript;
  var base = script ? new URL(script.src).origin : location.origin;
  var here = new URL(location.href);
  var token = here.searchParams.get("kt");
  try {
    if (token) sessionStorage.setItem("kairos.kt", token);
    else token = sessionStorage.getItem("kairos.kt");
  } catch (e) { /* storage is forbidden: the token lasts for this page */ }
  if (here.searchParams.has("kt") && window.history && history.replaceState) {
    here.searchParams.delete("kt"); // not for bookmarks and referrers
    history.replaceState(history.state, "", here);
  }
  function track(kind, more) {
    if (!token) return Promise.resolve(false);
    var body = Object.assign({}, more || {}, { kind: kind });
    return fetch(base + "/t/" + token, {
      method: "POST", keepalive: true, credentials: "omit",
      headers: { "Content-Type": "text/plain" }, // a simple request: no preflight
      body: JSON.stringify(body)
    }).then(function (r) { return r.status === 202; }, function () { return false; });
  }
  window.kairos = { track: track };
  track("page.viewed", { data: { path: location.pathname } });
})();
