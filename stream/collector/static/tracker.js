// Surgeline: page visits with the time a page was seen, and who said who they are.
// <script src="https://HOST/v1/tracker.js" data-key="WRITE KEY" data-consent="false"></script>
// Without consent the visitor's id lives in memory alone and ends with the page.
(function (w, d) {
  var s = d.currentScript, own = s.dataset, to = new URL(s.src).origin + '/v1/',
    slot = 'surgeline_id', consent = own.consent === 'true',
    user, account = own.account, visit, since = 0, seen = 0;

  function id() {
    return Array.from(w.crypto.getRandomValues(new Uint8Array(16)), function (b) {
      return (b + 256).toString(16).slice(1);
    }).join('');
  }
  function kept(value) {
    try {
      if (value) localStorage.setItem(slot, value);
      else if (value === '') localStorage.removeItem(slot);
      else return localStorage.getItem(slot);
    } catch (e) { /* storage is off: memory it is */ }
  }
  var me = (consent && kept()) || id();
  if (consent) kept(me);

  function send(call, body) {
    var now = new Date().toISOString();
    body = JSON.stringify(Object.assign({
      writeKey: own.key, messageId: id(), anonymousId: me, userId: user,
      timestamp: now, sentAt: now, context: { groupId: account }
    }, body));
    if (!(navigator.sendBeacon && navigator.sendBeacon(to + call, body)))
      fetch(to + call, { method: 'POST', body: body, keepalive: true, mode: 'no-cors' });
  }
  function begin() {
    since = d.visibilityState === 'visible' && performance.now();
    if (since) visit.timestamp = visit.timestamp || new Date().toISOString();
  }
  // One visit when the page is first hidden; another if it is then seen for 5 more seconds.
  function end() {
    if (since) seen += performance.now() - since;
    since = 0;
    if (!seen || (visit.again && seen < 5e3)) return;
    visit.properties.duration_seconds = Math.round(seen / 100) / 10;
    send('page', { timestamp: visit.timestamp, properties: visit.properties });
    visit.timestamp = seen = 0;
    visit.again = true;
  }
  function page() {
    if (visit) end();
    seen = 0;
    visit = { properties: { url: location.href, referrer: d.referrer } };
    begin();
  }
  d.addEventListener('visibilitychange', function () { if (d.hidden) end(); else begin(); });
  w.addEventListener('pagehide', end);
  w.surgeline = {
    page: page,
    identify: function (name, traits) { user = name || user; send('identify', { traits: traits }); },
    group: function (name) { account = name; },
    consent: function (yes) { kept(yes ? me : ''); }
  };
  page();
})(window, document);
