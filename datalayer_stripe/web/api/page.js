// Show the description of the HTTP API: https://swagger.io/docs/open-source-tools/swagger-ui/

const main = document.querySelector("#description");

/** Add the header that a Jupyter Server needs in a request with its cookie. */
function addXsrfHeader(request) {
  const xsrf = /(?:^|; )_xsrf=([^;]*)/.exec(document.cookie);
  if (xsrf) {
    request.headers["X-XSRFToken"] = decodeURIComponent(xsrf[1]);
  }
  return request;
}

window.SwaggerUIBundle({
  url: main.dataset.url,
  domNode: main,
  deepLinking: true,
  defaultModelsExpandDepth: 0,
  // A token is kept in memory only.
  persistAuthorization: false,
  requestInterceptor: addXsrfHeader,
  // No request to another site.
  validatorUrl: null,
});
