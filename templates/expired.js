(function(){
  var facts = JSON.parse(document.getElementById('facts').textContent), own = window.parent;
  function known(origin){
    return facts.origins.indexOf(origin) >= 0 || facts.patterns.some(function(pattern){ return new RegExp(pattern).test(origin); });
  }
  function above(){
    if (location.ancestorOrigins && location.ancestorOrigins.length) { return location.ancestorOrigins[0]; }
    try { return new URL(document.referrer).origin; } catch (_) { return ''; }
  }
  function tell(type){
    var message = {type: type, code: facts.code, sandbox: facts.sandbox, port: facts.port, reason: facts.reason}, origin = above();
    // Who is above is known, or it is one of those that have a name: to anybody else the browser does not deliver.
    (known(origin) ? [origin] : facts.origins).forEach(function(target){ own.postMessage(message, target); });
  }
  if (own !== window) {
    window.addEventListener('message', function(event){
      if (event.source === own && known(event.origin) && event.data && event.data.type === 'preview:session-refreshed') { location.reload(); }
    });
    tell('preview:session-expired');
    if (facts.alias) { tell(facts.alias); }
  }
  // What browsers say of themselves does not know of every setting.
  function keepsCookies(){
    document.cookie = '__cookie_probe=1; Max-Age=10; SameSite=Lax';
    var kept = document.cookie.indexOf('__cookie_probe=1') >= 0;
    document.cookie = '__cookie_probe=; Max-Age=0; SameSite=Lax';
    return kept;
  }
  if (own === window && facts.code === 'sign_in_needed' && !keepsCookies()) {
    document.querySelector('h1').textContent = 'Your browser blocks cookies here';
    document.querySelector('.text').textContent =
      'A link to this preview works once the browser may keep a cookie for it. Allow cookies for this address, then open the link again.';
  }
  var allow = document.getElementById('allow'), tab = document.getElementById('tab');
  if (!tab) { return; }
  // The address of this page has the link's token, under the name of a link that came back.
  var link = location.href.replace('__preview=', 'mt=');
  tab.href = link;
  tab.hidden = false;
  if (document.requestStorageAccess) {
    allow.hidden = false;
    allow.onclick = function(){
      document.requestStorageAccess().then(function(){ location.replace(link); }, function(){ allow.hidden = true; });
    };
  }
})();
