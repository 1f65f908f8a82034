// Kairos' snippet for landing pages: <script src="https://…/k.js" async></script>
// It reads the token a tracked link brought (kt), remembers it for the visit,
// reports page.viewed, and offers kairos.track(kind, data), where data's key,
// amount and currency are the event's own. The promise tells whether the event
// is stored. Give what must not get lost a key: it is sent again after a
// failure, which without a key could count it twice. Without a token nothing is
// sent.
(function () {
  "use strict";
  if (window.kairos && window.kairos.track) return; // included twice
  var script = document.currentScript || document.querySelector('script[src*="/k.js"]');
  var base = (script ? script.src : location.href).replace(/[?#].*$/, "").replace(/[^/]*$/, "");
  var found = /[?&]kt=([A-Za-z0-9_-]+)/.exec(location.search);
  var token = found && found[1];
  try {
    if (token) sessionStorage.setItem("kairos.kt", token);
    else token = sessionStorage.getItem("kairos.kt");
  } catch (e) { /* storage is forbidden: the token lasts for this page */ }
  if (found && history.replaceState) { // not for bookmarks and referrers
    var search = location.search.replace(/([?&])kt=[^&]*(&|$)/g, "$1").replace(/[?&]$/, "");
    history.replaceState(history.state, "", location.pathname + search + location.hash);
  }
  function send(body, waits) {
    function again() {
      if (!waits.length) return false;
      return new Promise(function (done) { setTimeout(done, waits[0]); })
        .then(function () { return send(body, waits.slice(1)); });
    }
    return fetch(base + "t/" + token, {
      method: "POST", keepalive: true, credentials: "omit",
      headers: { "Content-Type": "text/plain" }, // a simple request: no preflight
      body: body
    }).then(function (r) { return r.status === 202 || (r.status >= 500 && again()); }, again);
  }
  function track(kind, more) {
    if (!token) return Promise.resolve(false);
    var event = { kind: kind }, data = {}, name;
    for (name in more || {}) {
      if (name === "key" || name === "amount" || name === "currency") event[name] = more[name];
      else if (name !== "data") data[name] = more[name];
    }
    if (more && more.data && typeof more.data === "object") Object.assign(data, more.data);
    if (Object.keys(data).length) event.data = data;
    return send(JSON.stringify(event), event.key ? [500, 2000] : []);
  }
  window.kairos = { track: track };
  function viewed() { track("page.viewed", { path: location.pathname }); }
  if (document.prerendering) document.addEventListener("prerenderingchange", viewed, { once: true });
  else viewed();
})();
