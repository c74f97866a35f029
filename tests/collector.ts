/**
 * An OpenTelemetry collector: accepts OTLP over HTTP in JSON, and extracts this project's metrics.
 *
 * @module
 */

/** An attribute or a measured value, reduced to the fields used here. */
interface Point {
  readonly asDouble?: number;
  readonly asInt?: string | number;
  readonly attributes: readonly { key: string; value: { stringValue: string } }[];
}

/** One metric. */
export interface OtlpMetric {
  readonly name: string;
  readonly unit: string;
  readonly sum?: { readonly dataPoints: readonly Point[]; readonly isMonotonic: boolean };
  readonly gauge?: { readonly dataPoints: readonly Point[] };
}

interface Export {
  readonly resourceMetrics: readonly {
    readonly scopeMetrics: readonly { scope: { name: string }; metrics: OtlpMetric[] }[];
  }[];
}

/** The values of a device, by their other attributes. */
export function pointsOf(metric: OtlpMetric, device: string): Record<string, number> {
  const points = (metric.sum ?? metric.gauge)!.dataPoints;
  return Object.fromEntries(points.flatMap(({ asDouble, asInt, attributes }) => {
    const texts = attributes.map(({ key, value }) => [key, value.stringValue] as const);
    if (Object.fromEntries(texts)["ublk.device"] !== device) return [];
    const others = texts.filter(([key]) => key !== "ublk.device");
    return [[others.map(([, text]) => text).sort().join(" "), Number(asDouble ?? asInt)]];
  }));
}

/** A collector that waits for an export with the expected metrics. */
export interface Collector extends AsyncDisposable {
  /** Environment variables that make Deno export telemetry here, several times a second. */
  readonly env: Record<string, string>;
  /** Resolves with this project's metrics, by name, of the first accepted export. */
  readonly found: Promise<Record<string, OtlpMetric>>;
}

/** Starts a collector. */
export function collect(
  willDo: (metrics: Record<string, OtlpMetric>) => boolean,
): Collector {
  const { promise: found, resolve } = Promise.withResolvers<Record<string, OtlpMetric>>();
  const options = { hostname: "127.0.0.1", port: 0, onListen: () => {} };
  const server = Deno.serve(options, async (request) => {
    const body = await request.text();
    if (request.url.endsWith("/v1/metrics")) {
      const { resourceMetrics }: Export = JSON.parse(body);
      const ownMetrics = resourceMetrics.flatMap(({ scopeMetrics }) => scopeMetrics)
        .filter(({ scope }) => scope.name === "@ublk/ublk").flatMap(({ metrics }) => metrics);
      const metrics = Object.fromEntries(ownMetrics.map((metric) => [metric.name, metric]));
      if (willDo(metrics)) resolve(metrics);
    }
    return new Response("{}", { headers: { "content-type": "application/json" } });
  });
  return {
    found,
    env: {
      OTEL_DENO: "true",
      OTEL_EXPORTER_OTLP_PROTOCOL: "http/json",
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${server.addr.port}`,
      OTEL_METRIC_EXPORT_INTERVAL: "200",
    },
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}
