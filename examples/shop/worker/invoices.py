"""Writes invoices into the shop's bucket: one signed request of S3, with what the environment says."""

import hashlib
import hmac
import http.client
import os
from datetime import datetime, timezone
from urllib.parse import quote, urlsplit


def _hmac(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def put_invoice(key, text):
    """Writes one invoice, in place of an earlier one. Raises OSError when the bucket did not take it."""
    body = text.encode()
    endpoint = urlsplit(os.environ["AWS_ENDPOINT_URL_S3"])
    region = os.environ["AWS_REGION"]
    path = f"/{os.environ['BUCKET_NAME']}/{quote(key)}"
    now = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    digest = hashlib.sha256(body).hexdigest()
    headers = {
        "content-type": "text/plain; charset=utf-8",
        "host": endpoint.netloc,
        "x-amz-content-sha256": digest,
        "x-amz-date": now,
    }
    names = ";".join(sorted(headers))
    lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    scope = f"{now[:8]}/{region}/s3/aws4_request"
    request = hashlib.sha256(f"PUT\n{path}\n\n{lines}\n{names}\n{digest}".encode()).hexdigest()
    signing_key = ("AWS4" + os.environ["AWS_SECRET_ACCESS_KEY"]).encode()
    for word in (now[:8], region, "s3", "aws4_request"):
        signing_key = _hmac(signing_key, word)
    signature = _hmac(signing_key, f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{request}").hex()
    credential = f"{os.environ['AWS_ACCESS_KEY_ID']}/{scope}"
    headers["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, Signature={signature}"
    )
    connection = http.client.HTTPConnection(endpoint.hostname, endpoint.port, timeout=10)
    try:
        connection.request("PUT", path, body, headers)
        answer = connection.getresponse()
        said = answer.read()
        if answer.status != 200:
            raise OSError(f"the bucket answered {answer.status}: {said[:300]!r}")
    except http.client.HTTPException as error:
        raise OSError(f"the bucket did not answer: {error}") from error
    finally:
        connection.close()
