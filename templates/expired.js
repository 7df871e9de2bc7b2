(function(){
  var facts = JSON.parse(document.getElementById('facts').textContent);
  if (window.parent === window) { return; }
  facts.origins.forEach(function(origin){
    window.parent.postMessage({type: 'preview:session-expired', code: facts.code, sandbox: facts.sandbox, port: facts.port, reason: facts.reason}, origin);
  });
})();
